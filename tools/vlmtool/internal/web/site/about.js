// What the pages of a site say of sizes and devices.

export const size = bytes => bytes < 1e9 ? `${Math.max(1, Math.round(bytes / 1e6))} MB` : `${(bytes / 1e9).toFixed(1)} GB`;

// place is where a program runs that has told its device.
export const place = ({ device, name }) => device === "cpu" ? "on the processor, more slowly than on a GPU" : `on ${name || "the GPU"}, by WebGPU`;
