package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// OpaquePortsAnnotation is Linkerd's list of ports whose bytes are not looked
// at, on a Service, an instance (a Pod, or the template of one), or a
// Namespace.
const OpaquePortsAnnotation = "config.linkerd.io/opaque-ports"

// AllowedOpaquePorts is what the annotation may hold, in words.
const AllowedOpaquePorts = "port numbers from 1 to 65535, ranges such as 8000-8010, and names of ports, with commas between them"

// PortSet is some ports, by number or by name. The zero PortSet is empty.
type PortSet struct {
	ranges [][2]uint16
	names  []string
}

// Has says whether the set has the port, by its number or by its name.
func (s *PortSet) Has(number uint16, name string) bool {
	for _, r := range s.ranges {
		if r[0] <= number && number <= r[1] {
			return true
		}
	}
	return name != "" && slices.Contains(s.names, name)
}

// Names are the ports that are listed by name.
func (s *PortSet) Names() []string { return s.names }

// ParsePorts reads the value of OpaquePortsAnnotation: what is good of it, and
// an error for each item that is not. An empty value is an empty set, which
// takes the defaults away.
func ParsePorts(value string) (PortSet, []error) {
	var set PortSet
	var errs []error
	if strings.TrimSpace(value) == "" {
		return set, nil
	}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if isPortName(item) {
			set.names = append(set.names, item)
			continue
		}
		r, err := parseRange(item)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set.ranges = append(set.ranges, r)
	}
	return set, errs
}

func parseRange(item string) ([2]uint16, error) {
	first, last, isRange := strings.Cut(item, "-")
	if !isRange {
		last = first
	}
	a, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	switch {
	case item == "":
		return [2]uint16{}, fmt.Errorf("there is nothing between two commas")
	case err1 != nil || err2 != nil || a == 0 || b == 0:
		return [2]uint16{}, fmt.Errorf("%q is no port", item)
	case a > b:
		return [2]uint16{}, fmt.Errorf("the range %q ends before it begins", item)
	}
	return [2]uint16{uint16(a), uint16(b)}, nil
}

// isPortName tells whether s can be the name of a port (RFC 6335 section 5.1):
// at most 15 letters, digits and inner dashes, with a letter.
func isPortName(s string) bool {
	letter := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
			letter = true
		case c >= '0' && c <= '9':
		case c == '-' && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return letter && len(s) <= 15
}
