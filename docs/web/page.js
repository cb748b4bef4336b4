/* page.js: the page at work: fetches the model once, has two workers draw side by side, shows what they drew.
 *
 *   form --> two workers, without and with forgetting --> pictures, difference, latents, digests, the command
 *
 * Not here: drawing (worker.js, web.c), the form and how it looks (index.html). */
"use strict";

const model = "emojicanvas";
const at = id => document.getElementById(id);
const say = text => { at("status").textContent = text; };

/* ---- what is fetched ---- */

async function get(path) {
    const answer = await fetch(path);
    if (!answer.ok)
        throw new Error(`${path}: ${answer.status} ${answer.statusText}: run make web again`);
    return new Uint8Array(await answer.arrayBuffer());
}

/* The module, and the model's files as [path, bytes]. */
async function fetchAll() {
    const names = new TextDecoder().decode(await get("files.txt")).trim().split("\n");
    at("progress").max = names.length + 1;
    const one = async path => {
        const data = await get(path);
        at("progress").value++;
        return data;
    };
    const [module, ...files] = await Promise.all(
        [one("saeuron.wasm").then(WebAssembly.compile), ...names.map(async path => [path, await one(path)])]);
    return { module, files };
}

/* Fills the select with what concepts.json lists, a group for each domain. */
function fillConcepts(files) {
    const [, bytes] = files.find(([path]) => path === `${model}/concepts.json`);
    for (const [domain, { concepts }] of Object.entries(JSON.parse(new TextDecoder().decode(bytes)).domains)) {
        const group = document.createElement("optgroup");
        group.label = `${domain}s`;
        group.append(...concepts.map(name => new Option(name.replaceAll("_", " "), name)));
        at("concept").append(group);
    }
    at("concept").value = "Mosaic"; // which the prompt in index.html asks for
}

/* ---- what is shown ---- */

/* rgb [height,width,3] on a canvas; described: what a reader hears. */
function show(canvas, { rgb, width, height }, described) {
    const image = new ImageData(width, height);
    image.data.fill(255);
    for (let i = 0; i < width * height; i++)
        image.data.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", described);
}

/* A row for each step: its timestep, and the latents with their scores. */
function showLatents(latents) {
    const rows = [];
    for (const { row, timestep, number, score } of latents) {
        rows[row] ??= [row, timestep, []];
        rows[row][2].push(`${number} (${score.toPrecision(3)})`);
    }
    at("hook").textContent = latents.length ? `at ${latents[0].hook}` : "";
    at("latents").replaceChildren(...rows.filter(Boolean).map(([row, timestep, cells]) => {
        const line = document.createElement("tr");
        for (const text of [row, timestep, cells.join(", ")])
            line.insertCell().textContent = text;
        return line;
    }));
}

const quoted = text => `'${text.replaceAll("'", `'\\''`)}'`;

function showAll(asked, plain, edited) {
    const drawn = `${asked.prompt} Seed ${asked.seed}, ${asked.steps} steps`;
    show(at("plain"), plain, `${drawn}, nothing forgotten`);
    show(at("edited"), edited, `${drawn}, ${asked.concept} forgotten`);
    show(at("difference"), { ...edited, rgb: edited.rgb.map((v, i) => Math.abs(v - plain.rgb[i])) },
        "How far the two pictures are apart; black where they are equal");
    at("digest-plain").textContent = plain.digest;
    at("digest-edited").textContent = edited.digest;
    at("forgotten").textContent = `${asked.concept} forgotten`;
    showLatents(edited.latents);
    const command = `./saeuron generate -p ${quoted(asked.prompt)} --seed ${asked.seed} --steps ${asked.steps}`;
    at("command").textContent = [`${command} -o plain.png`,
        `${command} --forget ${asked.concept} --map-steps -o edited.png`,
        "./saeuron digest plain.png edited.png"].join("\n");
    at("result").hidden = false;
}

/* ---- drawing ---- */

let workers = [];

/* Nothing is drawn from now on; `said` tells why. */
function stop(said) {
    workers.forEach(worker => worker.terminate());
    workers = [];
    const focused = document.activeElement === at("cancel");
    at("draw").disabled = false;
    at("cancel").disabled = true;
    at("progress").value = 0;
    if (focused)
        at("draw").focus();
    say(said);
}

function draw(loaded, asked) {
    const begin = performance.now();
    const pictures = [], done = [0, 0];
    at("draw").disabled = true;
    at("cancel").disabled = false;
    at("cancel").focus();
    say("Drawing both pictures.");
    at("progress").max = 2 * asked.steps;
    workers = [null, asked.concept].map((concept, i) => {
        const worker = new Worker("worker.js");
        worker.onmessage = ({ data }) => {
            if (data.error)
                return stop(data.error);
            if (data.rgb)
                pictures[i] = data;
            else {
                done[i] = data.done;
                at("progress").value = done[0] + done[1];
            }
            if (pictures[0] && pictures[1]) {
                showAll(asked, ...pictures);
                stop(`Drawn in ${((performance.now() - begin) / 1000).toFixed(1)} s.`);
            }
        };
        worker.onerror = ({ message }) => stop(message);
        worker.postMessage({ ...loaded, ...asked, dir: model, concept });
        return worker;
    });
}

/* ---- the start ---- */

async function start() {
    const loaded = await fetchAll();
    fillConcepts(loaded.files);
    at("form").onsubmit = event => {
        event.preventDefault();
        draw(loaded, { prompt: at("prompt").value, concept: at("concept").value, seed: at("seed").valueAsNumber,
                       steps: at("steps").valueAsNumber });
    };
    at("cancel").onclick = () => stop("Cancelled.");
    stop("Ready.");
}

start().catch(problem => say(problem.message));
