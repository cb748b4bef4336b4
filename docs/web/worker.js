/* worker.js: one picture, drawn by saeuron.wasm beside the page, which stays alive meanwhile.
 *
 *   page.js --the module, the model's files, what to draw--> web.c --> steps; then picture or error --> page.js
 *
 * Not here: what the picture is shown in (page.js), the drawing (web.c). Whoever ends the worker cancels it. */
"use strict";

onmessage = async ({ data: { module, files, dir, prompt, concept, seed, steps } }) => {
    const latents = [];
    let web;
    const bytes = (at, size) => new Uint8Array(web.memory.buffer, at, size);
    const read = at => {
        const rest = new Uint8Array(web.memory.buffer, at);
        return new TextDecoder().decode(rest.subarray(0, rest.indexOf(0)));
    };
    const write = data => {
        const at = web.room(data.length);
        if (!at)
            throw new Error("not enough memory for the model: close other pages");
        bytes(at, data.length).set(data);
        return at;
    };
    const text = string => write(new TextEncoder().encode(string + "\0"));
    const page = {
        step: (done, total) => postMessage({ done, total }),
        latent: (hook, row, timestep, number, score) => latents.push({ hook: read(hook), row, timestep, number, score }),
        picture: (rgb, width, height, digest) => postMessage({
            rgb: bytes(rgb, width * height * 3).slice(), width, height, latents,
            digest: BigInt.asUintN(64, digest).toString(16).padStart(16, "0"),
        }),
        error: at => postMessage({ error: read(at) }),
    };
    try {
        web = (await WebAssembly.instantiate(module, { page })).exports;
        for (const [path, data] of files)
            if (!web.add_file(text(path), write(data), data.length))
                throw new Error("not enough memory for the model: close other pages");
        web.draw(text(dir), text(prompt), concept ? text(concept) : 0, BigInt(seed), steps);
    } catch (problem) {
        postMessage({ error: problem.message });
    }
};
