// Starts a compressed program in a worker.
"use strict";

importScripts("wasm_exec.js", "simd.js", "browser.js");

const fail = error => postMessage({ kind: "failed", message: error.message ?? String(error) });

// get is fetch, of a file that has to be there.
async function get(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file}: the server answered ${response.status}`);
  return response;
}

// run starts a program; the options are patchworkOptions to it.
async function run(file, options) {
  globalThis.patchworkOptions = options;
  const go = new Go();
  patchworkSIMD(go);
  patchworkGPU.connect(go);
  const { body } = await get(file);
  const program = new Response(body.pipeThrough(new DecompressionStream("gzip")), { headers: { "Content-Type": "application/wasm" } });
  const { instance } = await WebAssembly.instantiateStreaming(program, go.importObject);
  go.exit = code => {
    if (code !== 0) fail(new Error("the program ended: it found no more memory, or a fault in itself")); // with 0 it has said why
  };
  go.run(instance).catch(fail);
}
