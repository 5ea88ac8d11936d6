package shaders

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	lineComment = regexp.MustCompile(`//[^\n]*`)
	storageVar  = regexp.MustCompile(`@binding\((\d+)\) var<storage, \w+> (\w+):`)
	functionOf  = regexp.MustCompile(`\bfn (\w+)\(`)
	localOf     = regexp.MustCompile(`\b(?:let|var|const) (\w+)|[(,]\s*(?:@builtin\(\w+\)\s*)?(\w+):`)
	identifier  = regexp.MustCompile(`(^|[^.\w])([A-Za-z_]\w*)`)
)

// StaticUse returns the numbers of the storage bindings that an entry point of a WGSL text
// statically uses: those that a pipeline's layout must have. A name that a function declares
// itself is not the binding's there.
func StaticUse(text, entry string) []int {
	text = lineComment.ReplaceAllString(text, "")
	numbers := map[string]int{}
	for _, m := range storageVar.FindAllStringSubmatch(text, -1) {
		numbers[m[2]], _ = strconv.Atoi(m[1])
	}
	names := namesOfFunctions(text)
	var used []int
	for reached, next := map[string]bool{entry: true}, []string{entry}; len(next) > 0; {
		of := names[next[0]]
		next = next[1:]
		for _, name := range of {
			if n, ok := numbers[name]; ok {
				used = append(used, n)
			} else if names[name] != nil && !reached[name] {
				reached[name] = true
				next = append(next, name)
			}
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// namesOfFunctions are the names that each function of a text uses and does not declare.
func namesOfFunctions(text string) map[string][]string {
	functions := map[string][]string{}
	for _, at := range functionOf.FindAllStringSubmatchIndex(text, -1) {
		rest := text[at[2]:] // from the function's name on
		body := strings.IndexByte(rest, '{') + 1
		whole := rest[at[3]-at[2] : body+closing(rest[body:])]
		locals := map[string]bool{}
		for _, m := range localOf.FindAllStringSubmatch(whole, -1) {
			locals[m[1]+m[2]] = true
		}
		names := []string{}
		for _, m := range identifier.FindAllStringSubmatch(whole, -1) {
			if !locals[m[2]] {
				names = append(names, m[2])
			}
		}
		functions[text[at[2]:at[3]]] = names
	}
	return functions
}

// ShareBinding changes a WGSL text so that the load and store functions of a binding use the array of
// another one, whose elements are vectors of so many of its own: 1 where the types are the same. The
// binding's declaration is removed.
func ShareBinding(text, name, with string, parts uint64) string {
	declaration := regexp.MustCompile(`@group\(0\) @binding\(\d+\) var<storage, \w+> ` + name + `: .*\n`)
	text = declaration.ReplaceAllString(text, "")
	functions := regexp.MustCompile(`fn (?:load|store)[48v]?_` + name + `\(.*\{`)
	var w strings.Builder
	for {
		at := functions.FindStringIndex(text)
		if at == nil {
			w.WriteString(text)
			return w.String()
		}
		body := strings.IndexByte(text[at[0]:], '{') + at[0] + 1
		end := body + closing(text[body:])
		w.WriteString(text[:body])
		w.WriteString(shareAccess(text[body:end], name, with, parts))
		text = text[end:]
	}
}

// shareAccess is ShareBinding in the body of a function.
func shareAccess(body, name, with string, parts uint64) string {
	access := regexp.MustCompile(`\b` + name + `\[([^\[\]]*)\]`)
	return access.ReplaceAllStringFunc(body, func(element string) string {
		index := access.FindStringSubmatch(element)[1]
		if parts == 1 {
			return with + "[" + index + "]"
		}
		return fmt.Sprintf("%s[(%s) / %du][(%s) %% %du]", with, index, parts, index, parts)
	})
}
