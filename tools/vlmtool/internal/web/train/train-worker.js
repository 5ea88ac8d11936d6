// Runs the program that trains. The page sends { start: options }, then { stop: true }; the program
// posts its messages to the page itself.
importScripts("program.js");

onmessage = ({ data }) => {
  if (data.start) run("train.bin", data.start).catch(fail);
  else globalThis.patchworkStop?.();
};
