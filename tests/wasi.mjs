// wasi.mjs: runs a program for WASI, which sees the current folder and /tmp.
//
//   node --no-warnings --no-turbo-fast-api-calls tests/wasi.mjs PROGRAM [ARGUMENT...]
//
// Without the second option node 20 crashes once a program that read files has ended. Not here: what is run (matrix.sh).
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const wasi = new WASI({ version: "preview1", args: process.argv.slice(2), env: process.env, preopens: { ".": ".", "/tmp": "/tmp" }, returnOnExit: true });
const program = await WebAssembly.compile(await readFile(process.argv[2]));
process.exitCode = wasi.start(await WebAssembly.instantiate(program, { wasi_snapshot_preview1: wasi.wasiImport }));
