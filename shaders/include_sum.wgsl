// A sum in two levels: every 32 terms are added up before they enter the total,
// which leaves n/32 + 32 roundings of n. (Kahan's compensation does not survive
// drivers that simplify (a + b) - a.)
struct Sum { part: f32, terms: u32, total: f32 }
fn add_to(s: Sum, v: f32) -> Sum {
  let part = s.part + v;
  let full = s.terms == 31u;
  return Sum(select(part, 0.0, full), select(s.terms + 1u, 0u, full), s.total + select(0.0, part, full));
}
fn value_of(s: Sum) -> f32 { return s.total + s.part; }
