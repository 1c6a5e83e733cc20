package lint

import "github.com/reclosermesh/recloser/internal/control/source"

// Section is a part of the table of codes.
type Section struct {
	Name  string
	Codes []Code
}

// Code is what is to be known of a finding's code. Codes are stable: once
// published a code keeps its meaning.
type Code struct {
	Code string `json:"code"`
	// Severity that it most often has; What tells where it is another.
	Severity source.Severity `json:"severity"`
	// What is wrong, and what follows from it.
	What string `json:"what"`
	// Mend is what to do.
	Mend string `json:"mend"`
}

// Codes are all codes, in the order of the documentation, docs/lint.md, which is
// made of them.
func Codes() []Section {
	return []Section{
		{"Reading", codesRead()},
		{"Services and workloads", codesServices()},
		{"Routes of every dialect", codesRoutes()},
		{"Failover", codesFailover()},
		{"Gateway API", codesGateway()},
		{"Linkerd", codesLinkerd()},
		{"Service Mesh Interface", codesSmi()},
		{"VirtualService", codesVirtualservice()},
		{"DestinationRule", codesDestinationrule()},
		{"The mesh that runs", codesRunning()},
	}
}

// Explain is what is to be known of a code.
func Explain(code string) (Code, bool) {
	for _, s := range Codes() {
		for _, c := range s.Codes {
			if c.Code == code {
				return c, true
			}
		}
	}
	return Code{}, false
}
