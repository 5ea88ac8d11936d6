// A workgroup computes 4 columns of a row of y, with its invocations along x, 4 terms at
// a time. As each workgroup reads all of x, it also sums the squares, and divides by
// their root mean square at the end.
var<workgroup> squares: array<f32, GROUP>;
var<workgroup> gates: array<vec4<f32>, GROUP>;
var<workgroup> ups: array<vec4<f32>, GROUP>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let index = group_index(group, groups);
  let across = (p.n + 3u) / 4u;
  let col = index % across * 4u;
  let row = index / across;
  if (row >= p.rows) { return; }
  let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u));
  var square = 0.0;
  var gate = vec4<f32>(0.0);
  var up = vec4<f32>(0.0);
  for (var i = 4u * local; i < p.k; i = i + 4u * GROUP) {
    let n = min(4u, p.k - i);
    let x = load4_x(row * p.k + i, n);
    let scaled = x * load4_gain(i, n);
    let at = cols * p.k + vec4<u32>(i);
    square = square + dot(x, x);
    gate = gate + vec4<f32>(dot(scaled, load4_w(at.x, n)), dot(scaled, load4_w(at.y, n)),
                            dot(scaled, load4_w(at.z, n)), dot(scaled, load4_w(at.w, n)));
    if (p.gated != 0u) {
      up = up + vec4<f32>(dot(scaled, load4_up(at.x, n)), dot(scaled, load4_up(at.y, n)),
                          dot(scaled, load4_up(at.z, n)), dot(scaled, load4_up(at.w, n)));
    }
  }
  squares[local] = square;
  gates[local] = gate;
  ups[local] = up;
  for (var n = GROUP / 2u; n > 0u; n = n / 2u) {
    workgroupBarrier();
    if (local < n) {
      squares[local] = squares[local] + squares[local + n];
      gates[local] = gates[local] + gates[local + n];
      ups[local] = ups[local] + ups[local + n];
    }
  }
  if (local == 0u) {
    let rstd = 1.0 / sqrt(squares[0] / f32(p.k) + p.eps);
    gate = gates[0] * rstd;
    up = ups[0] * rstd;
    for (var j = 0u; j < 4u; j = j + WIDTH) {
      let next = j + WIDTH - 1u;
      finish(vec_of(gate[j], gate[next]), vec_of(up[j], up[next]), row, col + j);
    }
  }
}
