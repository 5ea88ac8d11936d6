package main

import (
	"fmt"
	"reflect"
	"strings"

	"patchwork/shaders"
)

// describe names a kernel's case by its parameters: "m=208/n=96/k=96". Zero
// parameters, strides and slots are left out.
func describe(params any) string {
	v := reflect.ValueOf(params)
	var parts []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if strings.HasPrefix(name, "LD") || strings.HasPrefix(name, "Stride") || strings.HasSuffix(name, "Slot") || name == "Slot" || name == "Base" {
			continue
		}
		switch f := v.Field(i).Interface().(type) {
		case shaders.Count:
			parts = append(parts, fmt.Sprintf("%s=%d", strings.ToLower(name), f.Max))
		case uint32:
			if f != 0 {
				parts = append(parts, fmt.Sprintf("%s=%d", strings.ToLower(name), f))
			}
		}
	}
	return strings.Join(parts, "/")
}
