// e^x as 2^n times a polynomial over [-ln2/2, ln2/2] (Cephes expf): within 2 units in the
// last place on every device, where drivers' own exp may lose 1e-5. Below -87.3 it is 0,
// above 88.7 it stays at e^88.7. NaN is detected by its bits, since compilers may assume
// that min, max and comparisons never get one.
fn exp_f32(x: f32) -> f32 {
  let t = min(max(x, -87.3), 88.7);
  let n = floor(t * 1.44269504 + 0.5);
  let r = (t - n * 0.693359375) + n * 2.12194440e-4;
  var y = 1.9875691500e-4;
  y = y * r + 1.3981999507e-3;
  y = y * r + 8.3334519073e-3;
  y = y * r + 4.1665795894e-2;
  y = y * r + 1.6666665459e-1;
  y = y * r + 5.0000001201e-1;
  y = y * r * r + r + 1.0;
  let scale = bitcast<f32>(u32(i32(n) + 127) << 23u);
  let is_nan = (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
  return select(select(y * scale, 0.0, x < -87.3), x, is_nan);
}

// The natural logarithm of a positive normal number (Cephes logf); 0 for 1. Infinity and
// NaN are returned unchanged.
fn log_f32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let small = (bits & 0x7fffffu) < 0x3504f3u; // the mantissa is below √2
  let e = f32(i32(bits >> 23u) - select(126, 127, small));
  let m = bitcast<f32>((bits & 0x7fffffu) | select(0x3f000000u, 0x3f800000u, small)) - 1.0;
  let z = m * m;
  var y = 7.0376836292e-2;
  y = y * m - 1.1514610310e-1;
  y = y * m + 1.1676998740e-1;
  y = y * m - 1.2420140846e-1;
  y = y * m + 1.4249322787e-1;
  y = y * m - 1.6668057665e-1;
  y = y * m + 2.0000714765e-1;
  y = y * m - 2.4999993993e-1;
  y = y * m + 3.3333331174e-1;
  y = y * m * z - e * 2.12194440e-4 - 0.5 * z;
  return select(m + y + e * 0.693359375, x, (bits & 0x7f800000u) == 0x7f800000u);
}

// 1/(1+e^-x)
fn sigmoid_f32(x: f32) -> f32 { return 1.0 / (1.0 + exp_f32(-x)); }
