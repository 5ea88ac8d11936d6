package shaders

import (
	"fmt"
	"math/bits"
	"reflect"
	"strings"
	"sync"
)

// DeviceCaps are the properties of a device that the choice of a variant depends on.
type DeviceCaps struct {
	Class Class
	// Limits of a workgroup; 0 = not known.
	Invocations     int
	WorkgroupMemory int64
	// Subgroup is the size of a subgroup with shuffles; 0 = none.
	Subgroup int
	// MinSubgroup is the smallest that a shader can require; 0 = it cannot.
	MinSubgroup int
	// Features and cooperative matrices that the device supports.
	Features []string
	Matrices []Matrix
	// Tuned are measured choices; nil for none.
	Tuned Choices
}

// Choices name a variant for a kernel and a bucket of parameters, by their Bucket.
type Choices map[string]string

// ChooseFor returns the variant to run: the one that tuning chose, where it can run these
// parameters on the device, else the first that is preferred for the device's class and
// within its limits; nil where there is none.
func (k *Kernel) ChooseFor(params any, s Storage, t DeviceCaps) (v *Variant, tuned bool) {
	if name, ok := t.Tuned[k.Bucket(params, s)]; ok {
		for _, v := range k.Runnable(params, s, t) {
			if v.Name == name {
				return v, true
			}
		}
	}
	for i := range k.Variants {
		v := &k.Variants[i]
		if v.Storage == s && v.preferred(params, t.Class) && k.fits(v, t) && (v.Cooperative == nil || v.Cooperative.prefers(t)) {
			return v, false
		}
	}
	return nil, false
}

// Runnable returns every variant that can run the parameters within the device's limits,
// regardless of the class that it is preferred for. The conformance suite runs them all.
func (k *Kernel) Runnable(params any, s Storage, t DeviceCaps) []*Variant {
	var runnable []*Variant
	for i := range k.Variants {
		v := &k.Variants[i]
		if v.Storage == s && v.Runs(params) && k.fits(v, t) {
			runnable = append(runnable, v)
		}
	}
	return runnable
}

// Runs reports whether the variant is declared for the parameters, for any class.
func (v *Variant) Runs(params any) bool {
	if v.when == nil {
		return true
	}
	for _, class := range []Class{Software, Integrated, Discrete} {
		if v.when(params, class) {
			return true
		}
	}
	return false
}

// fits reports whether a variant is within the device's limits. A variant whose module
// cannot be read counts as fitting: the device reports the error.
func (k *Kernel) fits(v *Variant, t DeviceCaps) bool {
	if v.caps != nil {
		t = *v.caps
	}
	if v.Cooperative != nil && !v.Cooperative.fits(t, v.Storage.Type) {
		return false
	}
	n, err := k.Requirements(v)
	return err != nil || n.MetBy(t)
}

// Bucket names the kernel and the size class of a call: flags, and sizes rounded up to a
// power of two, without offsets. Calls of one bucket are tuned together.
func (k *Kernel) Bucket(params any, s Storage) string {
	var w strings.Builder
	w.WriteString(k.Name)
	if s.Bindings != 0 {
		w.WriteString(" " + s.suffix(k.Bindings))
	}
	v := reflect.ValueOf(params)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		switch f := v.Field(i).Interface().(type) {
		case Count:
			fmt.Fprintf(&w, " %s=%s", snake(field.Name), bucketOf(f.Max))
		case uint32:
			if !IsLayout(field) {
				fmt.Fprintf(&w, " %s=%s", snake(field.Name), bucketOf(f))
			}
		}
	}
	return w.String()
}

// IsLayout reports whether a parameter is an offset, a stride or a leading dimension
// and not a size: its field is tagged `kernel:"layout"`. Calls that differ only in it
// are one call to measure.
func IsLayout(field reflect.StructField) bool { return field.Tag.Get("kernel") == "layout" }

func bucketOf(n uint32) string {
	if n < 2 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("2^%d", bits.Len32(n-1))
}

// SourceHash is the SHA-256 of the sources of the kernel's variants. Measurements of
// other sources are stale.
func (k *Kernel) SourceHash() (string, error) {
	if h, ok := sourceHashes.Load(k.Name); ok {
		return h.(string), nil
	}
	var all strings.Builder
	for i := range k.Variants {
		text, err := k.Text(&k.Variants[i])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s %d\n%s", k.ID(&k.Variants[i]), len(text), text)
	}
	h := Hash([]byte(all.String()))
	sourceHashes.Store(k.Name, h)
	return h, nil
}

var sourceHashes sync.Map
