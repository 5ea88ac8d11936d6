package jinja

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

var errZero = errors.New("division by zero")

// unary is -v or +v.
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

// binary is an operator of numbers, texts and lists, as Python has it.
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

// smallInts computes without big integers where the result cannot overflow.
func smallInts(op string, x, y int64) (Value, bool) {
	const most = 1 << 31
	if x <= -most || x >= most || y <= -most || y >= most {
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
	if err := r.makes(x.BitLen()/8 + y.BitLen()/8 + itemSize); err != nil {
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
	if x.BitLen() <= 1 { // -1, 0, 1: only parity and zero count
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
	if quotient-whole > 0.5 { // Python rounds what should be whole
		whole++
	}
	return whole, nil
}

func floatPower(x, y float64) (Value, error) {
	v := math.Pow(x, y)
	switch {
	case x == 0 && y < 0:
		return nil, errors.New("0.0 cannot be raised to a negative power")
	case math.IsInf(v, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0):
		return nil, errors.New("Result too large")
	case math.IsNaN(v) && !math.IsNaN(x) && !math.IsNaN(y):
		return nil, errors.New("complex numbers are not for chat templates")
	}
	return v, nil
}

// sequences are + and * of texts, lists and tuples.
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
		return left + right, true, r.makes(len(left) + len(right))
	}
	if err := r.makes(len(x) + len(y)); err != nil {
		return nil, true, err
	}
	return x + y, true, nil
}

func (r *run) appended(a, b []Value) ([]Value, error) {
	if err := r.makes((len(a) + len(b)) * itemSize); err != nil {
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
	if err := r.makes(size * int(n)); err != nil {
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

// rewrap gives a text the kind of the one it was made of.
func rewrap(like Value, text string) Value {
	if _, ok := like.(markup); ok {
		return markup(text)
	}
	return text
}

// compare is one of ==, !=, <, <=, >, >=, in, not in.
func (r *run) compare(op string, a, b Value) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.equal(a, b, 0)
		return same == (op == "=="), err
	case "in", "not in":
		in, err := r.contains(b, a)
		return in == (op == "in"), err
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			return false, u.err()
		}
		if f, ok := v.(float64); ok && math.IsNaN(f) {
			return false, nil
		}
	}
	c, err := r.order(a, b, 0)
	if err != nil {
		return false, fmt.Errorf("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

// equal is Python's a == b.
func (r *run) equal(a, b Value, depth int) (bool, error) {
	if depth > maxValueDepth {
		return false, errDepth
	}
	if err := r.tick(); err != nil {
		return false, err
	}
	if x, ok := asText(a); ok {
		y, isText := asText(b)
		return isText && x == y, nil
	}
	if same, ok := equalNumbers(a, b); ok {
		return same, nil
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok, nil
	case *List:
		y, ok := b.(*List)
		if !ok {
			return false, nil
		}
		return r.equalItems(x.Items, y.Items, depth)
	case *Tuple:
		y, ok := b.(*Tuple)
		if !ok {
			return false, nil
		}
		return r.equalItems(x.Items, y.Items, depth)
	case *Dict:
		y, ok := b.(*Dict)
		if !ok {
			return false, nil
		}
		return r.equalDicts(x, y, depth)
	case *rangeValue:
		y, ok := b.(*rangeValue)
		return ok && x.length == y.length && (x.length == 0 || x.start == y.start && (x.length == 1 || x.step == y.step)), nil
	case *view:
		y, ok := b.(*view)
		if !ok || x.kind == "values" || y.kind == "values" {
			return a == b, nil
		}
		return r.equalSets(x, y, depth)
	}
	return a == b, nil
}

// equalSets compares the keys, or the items, of two dicts, in any order.
func (r *run) equalSets(x, y *view, depth int) (bool, error) {
	if len(x.items) != len(y.items) {
		return false, nil
	}
	for _, one := range x.items {
		if in, err := r.among(y.items, one, depth); err != nil || !in {
			return false, err
		}
	}
	return true, nil
}

func equalNumbers(a, b Value) (same, ok bool) {
	x, okX := asBig(a)
	y, okY := asBig(b)
	if okX && okY {
		return x.Cmp(y) == 0, true
	}
	fx, okX := asFloat(a)
	fy, okY := asFloat(b)
	if !okX || !okY {
		return false, okX && b != nil && !isContainer(b)
	}
	return fx == fy, true
}

func isContainer(v Value) bool {
	switch v.(type) {
	case *List, *Tuple, *Dict, *Undefined, *rangeValue, *view:
		return true
	}
	return false
}

func (r *run) equalItems(x, y []Value, depth int) (bool, error) {
	if len(x) != len(y) {
		return false, nil
	}
	for i := range x {
		if same, err := r.equal(x[i], y[i], depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (r *run) equalDicts(x, y *Dict, depth int) (bool, error) {
	if x.Len() != y.Len() {
		return false, nil
	}
	for i, key := range x.keys {
		v, ok, err := y.get(key)
		if err != nil || !ok {
			return false, err
		}
		if same, err := r.equal(x.values[i], v, depth+1); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

var errNoOrder = errors.New("values cannot be compared")

// order is the sign of a - b.
func (r *run) order(a, b Value, depth int) (int, error) {
	if depth > maxValueDepth {
		return 0, errDepth
	}
	if err := r.tick(); err != nil {
		return 0, err
	}
	x, okX := asText(a)
	y, okY := asText(b)
	if okX && okY {
		return bytes.Compare([]byte(x), []byte(y)), nil // UTF-8 sorts as its characters do
	}
	bigX, okX := asBig(a)
	bigY, okY := asBig(b)
	if okX && okY {
		return bigX.Cmp(bigY), nil
	}
	floatX, okX := asFloat(a)
	floatY, okY := asFloat(b)
	if okX && okY {
		switch {
		case floatX < floatY:
			return -1, nil
		case floatX > floatY:
			return 1, nil
		}
		return 0, nil
	}
	if _, ok := a.(*List); ok {
		if _, ok := b.(*List); ok {
			return r.orderItems(itemsOf(a), itemsOf(b), depth)
		}
	}
	if _, ok := a.(*Tuple); ok {
		if _, ok := b.(*Tuple); ok {
			return r.orderItems(itemsOf(a), itemsOf(b), depth)
		}
	}
	return 0, errNoOrder
}

func (r *run) orderItems(x, y []Value, depth int) (int, error) {
	for i := range min(len(x), len(y)) {
		same, err := r.equal(x[i], y[i], depth+1)
		if err != nil {
			return 0, err
		}
		if !same {
			return r.order(x[i], y[i], depth+1)
		}
	}
	return len(x) - len(y), nil
}

// contains is item in container.
func (r *run) contains(container, item Value) (bool, error) {
	if text, ok := asText(container); ok {
		part, isText := asText(item)
		if !isText {
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		return strings.Contains(text, part), nil
	}
	switch c := container.(type) {
	case *Dict:
		_, ok, err := c.get(item)
		return ok, err
	case *namespace, nil, bool, int64, float64, *macro, *function:
		return false, fmt.Errorf("argument of type '%s' is not iterable", typeName(container))
	case *rangeValue:
		n, ok := asInt(item)
		return ok && c.length > 0 && (n-c.start)%c.step == 0 && (n-c.start)/c.step >= 0 && (n-c.start)/c.step < c.length, nil
	}
	items, err := r.items(container)
	if err != nil {
		return false, err
	}
	return r.among(items, item, 0)
}

func (r *run) among(items []Value, item Value, depth int) (bool, error) {
	for _, one := range items {
		if one == nil && item == nil {
			return true, nil
		}
		if same, err := r.equal(one, item, depth+1); err != nil || same {
			return same, err
		}
	}
	return false, nil
}
