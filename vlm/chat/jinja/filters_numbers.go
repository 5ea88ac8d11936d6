package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// toFloat returns Python's float(v).
func toFloat(v Value) (float64, error) {
	if u, ok := v.(*Undefined); ok {
		return 0, u.err()
	}
	if f, ok := asFloat(v); ok {
		return f, nil
	}
	s, ok := asText(v)
	if !ok {
		return 0, fmt.Errorf("%w: float() argument must be a string or a real number, not '%s'", errConvert, typeName(v))
	}
	s = strings.TrimFunc(s, isSpace)
	f, err := strconv.ParseFloat(pythonDigits(s), 64)
	if err != nil && !math.IsInf(f, 0) || strings.ContainsAny(s, "xXpP") {
		return 0, fmt.Errorf("%w: could not convert string to float", errConvert)
	}
	return f, nil
}

// pythonDigits removes single underscores between digits. Other underscores stay and make
// the number invalid.
func pythonDigits(s string) string {
	var b strings.Builder
	for i := range len(s) {
		digit := func(j int) bool { return j >= 0 && j < len(s) && s[j] >= '0' && s[j] <= '9' }
		if s[i] == '_' && digit(i-1) && digit(i+1) {
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// errConvert is a TypeError or ValueError of a conversion, for which the filters int and
// float return a default.
var errConvert = errors.New("not a number")

func filterFloat(_ *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("float", 0, "default")
	if err != nil {
		return nil, err
	}
	f, err := toFloat(v)
	if errors.Is(err, errConvert) {
		return orElse(p[0], 0.0), nil
	}
	return f, err
}

func filterInt(_ *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("int", 0, "default", "base")
	if err != nil {
		return nil, err
	}
	base, ok := asInt(orElse(p[1], int64(10)))
	if !ok {
		return nil, errors.New("the base of int must be an integer")
	}
	if s, ok := asText(v); ok {
		if n, ok := parseInt(s, int(base)); ok {
			return n, nil
		}
	} else if b, ok := asBig(v); ok {
		return shortInt(b), nil
	}
	f, err := toFloat(v)
	if err == nil {
		if n, failed := floatToInt(f); failed == nil {
			return n, nil
		}
		if _, isFloat := v.(float64); isFloat && math.IsInf(f, 0) {
			return nil, errors.New("cannot convert float infinity to integer")
		}
	} else if !errors.Is(err, errConvert) {
		return nil, err
	}
	return orElse(p[0], int64(0)), nil
}

// parseInt returns Python's int(s, base).
func parseInt(s string, base int) (Value, bool) {
	s = strings.TrimFunc(s, isSpace)
	sign := signAt(s, 0)
	s = s[len(sign):]
	if base == 16 || base == 8 || base == 2 {
		s = strings.TrimPrefix(strings.ToLower(s), map[int]string{16: "0x", 8: "0o", 2: "0b"}[base])
	}
	if base < 0 || base == 1 || base > 36 || len(s) > maxDigits || s == "" || signAt(s, 0) != "" {
		return nil, false
	}
	b, ok := new(big.Int).SetString(pythonDigits(s), base)
	if !ok || base != 0 && strings.Contains(pythonDigits(s), "_") {
		return nil, false
	}
	if sign == "-" {
		b.Neg(b)
	}
	return shortInt(b), true
}

func filterRound(r *run, v Value, a arguments) (Value, error) {
	p, err := a.bind("round", 0, "precision", "method")
	if err != nil {
		return nil, err
	}
	digits, ok := asInt(orElse(p[0], int64(0)))
	method, _ := asText(orElse(p[1], "common"))
	if !ok || digits > 300 || digits < -300 {
		return nil, errors.New("round takes a number of digits")
	}
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	x, ok := asFloat(v)
	if !ok {
		return nil, fmt.Errorf("type %s doesn't define __round__ method", typeName(v))
	}
	switch method {
	case "common":
		return roundCommon(v, x, int(digits))
	case "ceil", "floor":
		f := math.Ceil
		if method == "floor" {
			f = math.Floor
		}
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return nil, errors.New("cannot convert float infinity or NaN to integer")
		}
		scale := math.Pow(10, float64(digits))
		return (f(x*scale) + 0) / scale, nil // + 0: whole numbers have no -0
	}
	return nil, errors.New("method must be common, ceil or floor")
}

// roundCommon is Python's round: to even, by the number's exact value.
func roundCommon(v Value, x float64, digits int) (Value, error) {
	n, isInt := asBig(v)
	switch {
	case isInt && digits >= 0:
		return shortInt(n), nil
	case isInt:
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-digits)), nil)
		rest := new(big.Int)
		whole, rest := new(big.Int).DivMod(n, unit, rest)
		twice := new(big.Int).Lsh(rest, 1).Cmp(unit)
		if twice > 0 || twice == 0 && whole.Bit(0) == 1 {
			whole.Add(whole, big.NewInt(1))
		}
		return shortInt(whole.Mul(whole, unit)), nil
	case math.IsInf(x, 0) || math.IsNaN(x):
		return x, nil
	case digits >= 0:
		return strconv.ParseFloat(strconv.FormatFloat(x, 'f', digits, 64), 64)
	}
	unit := math.Pow(10, float64(-digits))
	return math.RoundToEven(x/unit) * unit, nil
}
