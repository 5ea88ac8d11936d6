// Runs the program that trains. The page sends { start: options }, then { stop: true }; the program
// posts its messages to the page itself.
importScripts("wasm_exec.js", "simd.js", "browser.js");

const fail = error => postMessage({ kind: "failed", message: error.message ?? String(error) });

async function start(options) {
  globalThis.patchworkOptions = options;
  const go = new Go();
  patchworkSIMD(go);
  patchworkGPU.connect(go);
  const zipped = await fetch("train.bin");
  if (!zipped.ok) throw new Error(`train.bin: the server answered ${zipped.status}`);
  const program = new Response(zipped.body.pipeThrough(new DecompressionStream("gzip")), { headers: { "Content-Type": "application/wasm" } });
  const { instance } = await WebAssembly.instantiateStreaming(program, go.importObject);
  go.exit = code => {
    if (code !== 0) fail(new Error(code === 2 ? "the program ended: it found no more memory, or a fault in itself" : `the program ended with status ${code}`));
  };
  await go.run(instance);
}

onmessage = ({ data }) => {
  if (data.start) start(data.start).catch(fail);
  else globalThis.patchworkStop?.();
};
