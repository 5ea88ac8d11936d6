// A lane has four values, of the eight lanes of a block.
struct Range { extreme: f32, low: f32, high: f32, finite: bool }
var<workgroup> ranges: array<Range, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = 4u * (group_index(group, groups) * 64u + local);
  var x = vec4<f32>(0.0);
  if (i < p.n) { x = load4_x(i, 4u); }
  let finite = all((bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) != vec4<u32>(0x7f800000u));
  ranges[local] = Range(larger(larger(larger(x.x, x.y), x.z), x.w), min(min(x.x, x.y), min(x.z, x.w)), max(max(x.x, x.y), max(x.z, x.w)), finite);
  workgroupBarrier();
  let first = local / 8u * 8u;
  var r = ranges[first];
  for (var lane = first + 1u; lane < first + 8u; lane = lane + 1u) {
    let other = ranges[lane];
    r = Range(larger(r.extreme, other.extreme), min(r.low, other.low), max(r.high, other.high), r.finite && other.finite);
  }
  if (i < p.n) { store4_y(i, 4u, rounded(x, r)); }
}

// The value with the larger magnitude, the first one of two that are equal.
fn larger(a: f32, b: f32) -> f32 { return select(a, b, abs(b) > abs(a)); }

fn rounded(x: vec4<f32>, r: Range) -> vec4<f32> {
  let with_low = p.format == Q4_1 || p.format == Q5_1;
  let most = select(15.0, 31.0, p.format == Q5_0 || p.format == Q5_1); // the largest integer
  let zero = (most + 1.0) / 2.0; // the integer of 0, in formats without a minimum
  if (p.format == Q8_0) {
    let scale = abs(r.extreme) / 127.0;
    // Ties, which the division decides, are not rounded away from 0 as on the CPU.
    return value(scale, floor(x * inverse(scale) + 0.5), 0.0, r.finite);
  }
  if (with_low) {
    let scale = (r.high - r.low) / most;
    return value(scale, integer((x - r.low) * inverse(scale) + 0.5, most), r.low, r.finite);
  }
  let scale = r.extreme / -zero;
  return value(scale, integer(x * inverse(scale) + (zero + 0.5), most) - zero, 0.0, r.finite);
}

fn inverse(x: f32) -> f32 { return select(1.0 / x, 0.0, x == 0.0); }
fn integer(x: vec4<f32>, most: f32) -> vec4<f32> { return clamp(floor(x), vec4<f32>(0.0), vec4<f32>(most)); }

// The value of integers q, NaN if the scale or the minimum is not finite in F16.
fn value(scale: f32, q: vec4<f32>, low: f32, finite: bool) -> vec4<f32> {
  let s = to_f16(scale);
  let l = to_f16(low);
  let valid = finite && abs(s) < 65536.0 && abs(l) < 65536.0;
  return select(vec4<f32>(bitcast<f32>(p.n | 0x7fc00000u)), s * q + l, valid);
}

// x rounded to F16. Below 2⁻¹⁴ these are multiples of 2⁻²⁴, as are numbers just above 1/2.
fn to_f16(x: f32) -> f32 {
  let a = bitcast<u32>(abs(x));
  let small = f32(bitcast<u32>(abs(x) + 0.5) - 0x3f000000u) / 16777216.0;
  let size = select(bitcast<f32>((a + 0xfffu + ((a >> 13u) & 1u)) & 0xffffe000u), small, a < 0x38800000u);
  return select(size, -size, x < 0.0);
}
