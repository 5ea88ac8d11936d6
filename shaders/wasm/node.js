// Connects programs that Go's wasm_exec_node.js runs to the functions of simd.js: node --require node.js.
"use strict";

require("./simd.js");

let plain;
Object.defineProperty(globalThis, "Go", {
	set: (c) => { plain = c; },
	get: () => class extends plain {
		constructor() {
			super();
			patchworkSIMD(this);
		}
	},
});
