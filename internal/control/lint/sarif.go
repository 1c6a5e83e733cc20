package lint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// The parts of SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format")
// that code hosts read.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string             `json:"id"`
		Short   sarifText          `json:"shortDescription"`
		Help    sarifText          `json:"help"`
		Default sarifConfiguration `json:"defaultConfiguration"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

// fingerprint is the name under which code hosts follow a finding from one run
// to the next; it does not change with the line.
const fingerprint = "recloser/v1"

// WriteSARIF prints the findings as SARIF 2.1.0, in which code hosts take what
// checks find. version is the program's, and may be empty. The rules are those
// that the findings break.
func WriteSARIF(w io.Writer, f []Finding, version string) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "recloser lint", Version: version, Rules: []sarifRule{}}},
		ColumnKind: "utf16CodeUnits", Results: []sarifResult{},
	}
	index := map[string]int{}
	for i := range f {
		n, ok := index[f[i].Code]
		if !ok {
			n = len(run.Tool.Driver.Rules)
			index[f[i].Code] = n
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, ruleOf(&f[i]))
		}
		run.Results = append(run.Results, resultOf(&f[i], n))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func ruleOf(f *Finding) sarifRule {
	c, ok := Explain(f.Code)
	if !ok { // of a newer control plane than this program
		c = Code{Code: f.Code, Severity: f.Severity, What: f.Reason, Mend: f.Mend}
	}
	return sarifRule{ID: f.Code, Short: sarifText{c.What}, Help: sarifText{c.Mend}, Default: sarifConfiguration{level(c.Severity)}}
}

func level(s source.Severity) string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	default:
		return "note"
	}
}

func resultOf(f *Finding, rule int) sarifResult {
	plain := *f
	plain.File, plain.Line = "", 0
	text := strings.TrimPrefix(plain.String(), string(f.Severity)+": ")
	sum := sha256.Sum256([]byte(strings.Join([]string{f.Code, f.Object, f.Field, f.Value, f.File}, "\x00")))
	r := sarifResult{
		RuleID: f.Code, RuleIndex: rule, Level: level(f.Severity),
		Message:      sarifText{strings.TrimSuffix(text, " ["+f.Code+"]")},
		Fingerprints: map[string]string{fingerprint: hex.EncodeToString(sum[:16])},
	}
	var l sarifLocation
	if f.File != "" {
		l.Physical = &sarifPhysical{Artifact: sarifArtifact{uriOf(f.File)}}
		if f.Line > 0 {
			l.Physical.Region = &sarifRegion{f.Line}
		}
	}
	if f.Object != "" {
		name := f.Object
		if f.Field != "" {
			name += " " + f.Field
		}
		l.Logical = []sarifLogical{{name, "object"}}
	}
	if l.Physical != nil || l.Logical != nil {
		r.Locations = []sarifLocation{l}
	}
	return r
}

// uriOf is a path as a reference of RFC 3986: relative to where the check ran,
// as code hosts want it, or absolute.
func uriOf(path string) string {
	u := url.URL{Path: filepath.ToSlash(filepath.Clean(path))}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
		return u.String()
	}
	return strings.TrimPrefix(u.String(), "./")
}
