// What package browser does in JavaScript, since it would take many calls from Go. A page connects
// it to a program before the program runs:
//
//	const go = new Go(); // of wasm_exec.js
//	patchworkGPU.connect(go);
"use strict";

globalThis.patchworkGPU = (() => {
  let memory; // the program's

  return {
    connect(go) {
      const run = go.run;
      go.run = instance => {
        memory = instance.exports.mem;
        return run.call(go, instance);
      };
    },

    // write writes bytes of the program's memory to a buffer.
    write(queue, buffer, offset, pointer, bytes) {
      queue.writeBuffer(buffer, offset, memory.buffer, pointer, bytes);
    },

    // read copies bytes of a mapped buffer into the program's memory, and unmaps the buffer.
    read(buffer, offset, size, skip, pointer, bytes) {
      const mapped = new Uint8Array(buffer.getMappedRange(offset, size), skip, bytes);
      new Uint8Array(memory.buffer, pointer, bytes).set(mapped);
      buffer.unmap();
    },

    // bind makes the bind groups of a program's calls. A call is described by numbers:
    //
    //	number of bindings, number of passes,
    //	index into buffers, offset, size                   for each binding
    //	index into layouts, index into pipelines, x, y, z  for each pass
    //
    // A layout tells which of the bindings its bind group has. Passes of a call with the same
    // layout share the group.
    bind(device, layouts, pipelines, buffers, pointer, length) {
      const numbers = new Float64Array(memory.buffer, pointer, length);
      const calls = [];
      for (let at = 0; at < length;) {
        const bindings = numbers[at++], passes = numbers[at++];
        const entries = [], groups = new Map(), call = [];
        for (let binding = 0; binding < bindings; binding++) {
          entries.push({ binding, resource: { buffer: buffers[numbers[at++]], offset: numbers[at++], size: numbers[at++] } });
        }
        for (let i = 0; i < passes; i++) {
          const { layout, bindings } = layouts[numbers[at++]];
          if (!groups.has(layout)) {
            groups.set(layout, device.createBindGroup({ layout, entries: bindings.map(binding => entries[binding]) }));
          }
          call.push({ group: groups.get(layout), pipeline: pipelines[numbers[at++]], x: numbers[at++], y: numbers[at++], z: numbers[at++] });
        }
        calls.push(call);
      }
      return calls;
    },

    // encode records the calls from first to end as one compute pass. WebGPU adds the barriers.
    encode(encoder, descriptor, calls, first, end) {
      const pass = encoder.beginComputePass(descriptor);
      let bound;
      for (let i = first; i < end; i++) {
        for (const { group, pipeline, x, y, z } of calls[i]) {
          if (x > 0 && y > 0 && z > 0) {
            if (group !== bound) {
              pass.setBindGroup(0, bound = group);
            }
            pass.setPipeline(pipeline);
            pass.dispatchWorkgroups(x, y, z);
          }
        }
      }
      pass.end();
    },
  };
})();
