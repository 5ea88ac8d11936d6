package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

var errZero = errors.New("division by zero")

// unary evaluates -v or +v.
func unary(op string, v Value) (Value, error) {
	switch n := v.(type) {
	case *Undefined:
		return nil, n.err()
	case float64:
		if op == "-" {
			return -n, nil
		}
		return n, nil
	}
	b, ok := asBig(v)
	if !ok {
		return nil, fmt.Errorf("bad operand type for unary %s: '%s'", op, typeName(v))
	}
	if op == "-" {
		b = new(big.Int).Neg(b)
	}
	return shortInt(b), nil
}

// binary evaluates one of Python's operators of numbers, strings and lists.
func (r *run) binary(op string, a, b Value) (Value, error) {
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			if _, isText := asText(a); !(isText && op == "%") {
				return nil, u.err()
			}
		}
	}
	if text, ok := asText(a); ok && op == "%" {
		out, err := r.percent(text, b)
		return rewrap(a, out), err
	}
	if v, ok, err := r.sequences(op, a, b); ok || err != nil {
		return v, err
	}
	x, okX := asInt(a)
	y, okY := asInt(b)
	if okX && okY {
		if v, ok := smallInts(op, x, y); ok {
			return v, nil
		}
	}
	bigX, okX := asBig(a)
	bigY, okY := asBig(b)
	if okX && okY {
		return r.bigInts(op, bigX, bigY)
	}
	floatX, okX := asFloat(a)
	floatY, okY := asFloat(b)
	if okX && okY {
		return floats(op, floatX, floatY)
	}
	return nil, fmt.Errorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

// smallInts avoids big integers if the result cannot overflow.
func smallInts(op string, x, y int64) (Value, bool) {
	const limit = 1 << 31
	if x <= -limit || x >= limit || y <= -limit || y >= limit {
		return nil, false
	}
	switch op {
	case "+":
		return x + y, true
	case "-":
		return x - y, true
	case "*":
		return x * y, true
	}
	return nil, false
}

func (r *run) bigInts(op string, x, y *big.Int) (Value, error) {
	if err := r.allocate(x.BitLen()/8 + y.BitLen()/8 + itemSize); err != nil {
		return nil, err
	}
	out := new(big.Int)
	switch op {
	case "+":
		out.Add(x, y)
	case "-":
		out.Sub(x, y)
	case "*":
		out.Mul(x, y)
	case "**":
		return r.bigPower(x, y)
	case "/", "//", "%":
		if y.Sign() == 0 {
			return nil, errZero
		}
		if op == "/" {
			return trueDivision(x, y)
		}
		rest := new(big.Int)
		out.QuoRem(x, y, rest)
		if rest.Sign() != 0 && rest.Sign() != y.Sign() { // Python rounds down
			out.Sub(out, big.NewInt(1))
			rest.Add(rest, y)
		}
		if op == "%" {
			out = rest
		}
	}
	if out.BitLen() > 4*maxDigits {
		return nil, errors.New("an integer is too large")
	}
	return shortInt(out), nil
}

func trueDivision(x, y *big.Int) (Value, error) {
	f, _ := new(big.Rat).SetFrac(x, y).Float64()
	if math.IsInf(f, 0) {
		return nil, errors.New("integer division result too large for a float")
	}
	return f, nil
}

func (r *run) bigPower(x, y *big.Int) (Value, error) {
	if y.Sign() < 0 {
		if x.Sign() == 0 {
			return nil, errors.New("0.0 cannot be raised to a negative power")
		}
		fx, _ := new(big.Float).SetInt(x).Float64()
		fy, _ := new(big.Float).SetInt(y).Float64()
		return math.Pow(fx, fy), nil
	}
	if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > 4*maxDigits || int64(x.BitLen())*y.Int64() > 4*maxDigits) {
		return nil, errors.New("an integer is too large")
	}
	if x.BitLen() <= 1 { // for -1, 0 and 1, only parity and zero matter
		y = new(big.Int).Add(new(big.Int).And(y, big.NewInt(1)), big.NewInt(int64(2*min(1, y.BitLen()))))
	}
	return shortInt(new(big.Int).Exp(x, y, nil)), nil
}

func floats(op string, x, y float64) (Value, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "**":
		return floatPower(x, y)
	}
	if y == 0 {
		return nil, errZero
	}
	if op == "/" {
		return x / y, nil
	}
	rest := math.Mod(x, y)
	if rest != 0 && (rest < 0) != (y < 0) {
		rest += y
	}
	if op == "%" {
		if rest == 0 {
			return math.Copysign(0, y), nil
		}
		return rest, nil
	}
	quotient := (x - rest) / y
	if quotient == 0 {
		return math.Copysign(0, x/y), nil
	}
	whole := math.Floor(quotient)
	if quotient-whole > 0.5 { // as Python corrects the rounding
		whole++
	}
	return whole, nil
}

func floatPower(x, y float64) (Value, error) {
	v := math.Pow(x, y)
	if whole := math.Floor(y); x > 0 && y-whole == 0.5 { // Go's Pow is off by an ulp here
		v = math.Pow(x, whole) * math.Sqrt(x)
	}
	switch {
	case x == 0 && y < 0:
		return nil, errors.New("0.0 cannot be raised to a negative power")
	case math.IsInf(v, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0):
		return nil, errors.New("Result too large")
	case math.IsNaN(v) && !math.IsNaN(x) && !math.IsNaN(y):
		return nil, errors.New("complex numbers are not supported")
	}
	return v, nil
}

// sequences evaluates + and * of strings, lists and tuples.
func (r *run) sequences(op string, a, b Value) (Value, bool, error) {
	switch op {
	case "+":
		return r.joined(a, b)
	case "*":
		if n, ok := asInt(b); ok {
			return r.repeated(a, n)
		}
		if n, ok := asInt(a); ok {
			return r.repeated(b, n)
		}
	}
	return nil, false, nil
}

func (r *run) joined(a, b Value) (Value, bool, error) {
	switch x := a.(type) {
	case *List:
		if y, ok := b.(*List); ok {
			items, err := r.appended(x.Items, y.Items)
			return &List{items}, true, err
		}
		return nil, false, nil
	case *Tuple:
		if y, ok := b.(*Tuple); ok {
			items, err := r.appended(x.Items, y.Items)
			return &Tuple{Items: items}, true, err
		}
		return nil, false, nil
	}
	x, okX := asText(a)
	y, okY := asText(b)
	if !okX || !okY {
		return nil, false, nil
	}
	_, markX := a.(markup)
	_, markY := b.(markup)
	if markX || markY {
		left, err := r.escaped(a)
		if err != nil {
			return nil, true, err
		}
		right, err := r.escaped(b)
		if err != nil {
			return nil, true, err
		}
		return left + right, true, r.allocate(len(left) + len(right))
	}
	if err := r.allocate(len(x) + len(y)); err != nil {
		return nil, true, err
	}
	return x + y, true, nil
}

func (r *run) appended(a, b []Value) ([]Value, error) {
	if err := r.allocate((len(a) + len(b)) * itemSize); err != nil {
		return nil, err
	}
	return append(append(make([]Value, 0, len(a)+len(b)), a...), b...), nil
}

func (r *run) repeated(v Value, n int64) (Value, bool, error) {
	n = max(n, 0)
	size := 0
	text, isText := asText(v)
	switch o := v.(type) {
	case *List:
		size = len(o.Items) * itemSize
	case *Tuple:
		size = len(o.Items) * itemSize
	default:
		if !isText {
			return nil, false, nil
		}
		size = len(text)
	}
	if size > 0 && n > int64(math.MaxInt/size) {
		n = int64(math.MaxInt / size)
	}
	if err := r.allocate(size * int(n)); err != nil {
		return nil, true, err
	}
	if size == 0 {
		n = 0
	}
	if isText {
		return rewrap(v, strings.Repeat(text, int(n))), true, nil
	}
	var items []Value
	for range n {
		items = append(items, itemsOf(v)...)
	}
	if _, ok := v.(*Tuple); ok {
		return &Tuple{Items: items}, true, nil
	}
	return &List{items}, true, nil
}

// rewrap returns text as Markup if like is Markup.
func rewrap(like Value, text string) Value {
	if _, ok := like.(markup); ok {
		return markup(text)
	}
	return text
}
