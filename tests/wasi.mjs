// wasi.mjs: runs a program for WASI under node: `node tests/wasi.mjs PROGRAM [ARGUMENT...]`. It sees the current folder and /tmp.
// Not here: what is run (matrix.sh).
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", args: process.argv.slice(2), env: process.env, preopens: { ".": ".", "/tmp": "/tmp" } });
const program = await WebAssembly.compile(await readFile(process.argv[2]));
wasi.start(await WebAssembly.instantiate(program, wasi.getImportObject()));
