package routing

import (
	"fmt"
	"strconv"
	"strings"
)

// String is how people read a match: "path /a* and header x = y".
func (m Match) String() string {
	var parts []string
	for _, p := range m.Paths {
		parts = append(parts, p.String())
	}
	for i := range m.Headers {
		parts = append(parts, m.Headers[i].String())
	}
	for i := range m.Query {
		parts = append(parts, "query "+m.Query[i].Name+" "+m.Query[i].Text.String())
	}
	if len(parts) == 0 {
		return "any"
	}
	return strings.Join(parts, " and ")
}

// String is "path /a", with a star where more may follow.
func (p PathMatch) String() string {
	not := ""
	if p.Invert {
		not = "not "
	}
	text := p.Value
	switch p.Kind {
	case PathPrefix:
		text = strings.TrimRight(text, "/") + "/*"
	case PathText:
		text += "*"
	case PathRegex:
		text = "~ " + text
	}
	if p.IgnoreCase {
		text += " (any case)"
	}
	return "path " + not + text
}

// String is "header x = y". Pseudo-headers are named as people call them.
func (h *HeaderMatch) String() string {
	name, pseudo := strings.CutPrefix(h.Name, ":")
	if !pseudo {
		name = "header " + name
	}
	if h.Kind == Present && h.Invert {
		return name + " absent"
	}
	if h.Invert {
		return "not " + name + " " + h.Text.String()
	}
	return name + " " + h.Text.String()
}

// String is "= y", "begins with y" …
func (t Text) String() string {
	var s string
	switch t.Kind {
	case Prefix:
		s = "begins with " + t.Value
	case Suffix:
		s = "ends with " + t.Value
	case Contains:
		s = "contains " + t.Value
	case Regex:
		s = "~ " + t.Value
	case Present:
		return "present"
	default:
		s = "= " + t.Value
	}
	if t.IgnoreCase {
		s += " (any case)"
	}
	return s
}

// String is "bb.demo:8080", with the subset if there is one.
func (b *Backend) String() string {
	s := b.Service.Name + "." + b.Service.Namespace + ":" + strconv.Itoa(int(b.Port))
	if b.Subset != "" {
		s += " subset " + b.Subset
	}
	if b.Invalid != "" {
		s += " (500: " + b.Invalid + ")"
	}
	return s
}

// Does is what a rule does with its requests: "bb.demo:8080 90%, cc.demo:80
// 10%", "301 to https://…", "answers 404".
func (r *Rule) Does() string {
	switch {
	case r.Redirect != nil:
		return r.Redirect.String()
	case r.Direct != nil:
		return fmt.Sprintf("answers %d", r.Direct.Status)
	}
	var parts []string
	for i := range r.Backends {
		b := &r.Backends[i]
		s := b.String()
		if len(r.Backends) > 1 {
			s += " " + strconv.FormatFloat(100*b.share(r.Backends), 'f', -1, 64) + "%"
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "answers 500: it has no backend"
	}
	return strings.Join(parts, ", ")
}

// String is "301 to https://host:port, path /a", with what stays left out.
func (r *Redirect) String() string {
	s := strconv.Itoa(int(r.Status.Value)) + " to "
	if r.Scheme != "" {
		s += r.Scheme + "://"
	}
	if s += r.Host; r.Host == "" {
		s += "the same host"
	}
	if r.Port != 0 {
		s += ":" + strconv.Itoa(int(r.Port))
	}
	if r.Path != nil {
		s += ", path " + r.Path.Value
	}
	return s
}
