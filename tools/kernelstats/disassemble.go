package main

import (
	"fmt"
	"io"
	"regexp"

	"patchwork/engine/vulkan"
)

// disassemble prints the compiler's listings of the pipelines of a kernel, or of one of
// its variants, which the class need not choose: those whose names match, or the last.
func disassemble(w io.Writer, c *vulkan.Compiler, s selection, name, listing string) error {
	pattern, err := regexp.Compile(listing)
	if err != nil {
		return fmt.Errorf("--listing: %w", err)
	}
	uses, err := s.named(c, name)
	if err != nil {
		return err
	}
	for _, u := range uses {
		compiled, err := c.Compile(u.kernel, u.variant, u.params, true)
		if err != nil {
			return err
		}
		for _, p := range compiled {
			if len(p.Texts) == 0 {
				return fmt.Errorf("%s has no listing of kernels", c.Info().Driver)
			}
			fmt.Fprintf(w, "; %s, entry point %s, constants %v, subgroups of %d\n", u.kernel.ID(u.variant), p.Entry, p.Constants, p.SubgroupSize)
			for i, t := range p.Texts {
				if listing == "" && i == len(p.Texts)-1 || listing != "" && pattern.MatchString(t.Name) {
					fmt.Fprintf(w, "; %s: %s\n%s\n", t.Name, t.Description, t.Content)
				}
			}
		}
	}
	return nil
}

// named are the pipelines of a variant, or of the variants of a kernel that the class
// chooses.
func (s selection) named(c *vulkan.Compiler, name string) ([]use, error) {
	recordings, err := s.record(c.Info())
	if err != nil {
		return nil, err
	}
	s.all = true
	all, err := s.uses(c.Info(), recordings)
	if err != nil {
		return nil, err
	}
	var found []use
	for _, u := range all {
		named := u.variant.Name != "" && u.kernel.ID(u.variant) == name
		if named || u.kernel.Name == name && u.chosen {
			found = append(found, u)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no pipeline of %s is in the selected work on %s; without --disassemble, --all lists them", name, c.Info().Device)
	}
	return found, nil
}
