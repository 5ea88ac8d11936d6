// An accumulator in two levels: every 32 terms are added up before they are added to the
// total, which leaves n/32 + 32 roundings instead of n. (Kahan's compensation does not
// survive drivers that simplify (a + b) - a.)
struct Sum { part: Vec, terms: u32, total: Vec }
fn zero_accumulator() -> Sum { return Sum(Vec(0.0), 0u, Vec(0.0)); }
fn accumulate(s: Sum, v: Vec) -> Sum {
  let part = s.part + v;
  let full = s.terms == 31u;
  return Sum(select(part, Vec(0.0), full), select(s.terms + 1u, 0u, full), s.total + select(Vec(0.0), part, full));
}
fn reduce(s: Sum) -> Vec { return s.total + s.part; }
