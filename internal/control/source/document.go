package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is what was read from one YAML or JSON document.
type Document struct {
	// Objects that are good.
	Objects []Object
	// Bad are objects that could be named but not used. The last good version
	// of them should stay.
	Bad []Key
	// Unreadable is set when not even the names of the objects are known.
	Unreadable bool
	Problems   []Problem
}

// Decoder reads documents of one file.
type Decoder struct {
	// Source and File are put into the origins.
	Source, File string
}

// Split cuts a multi-document YAML stream at its "---" lines, so that a fault
// in one document does not take the others with it. It returns each document
// with the number of its first line.
func Split(data []byte) (docs [][]byte, firstLines []int) {
	start, line, first := 0, 1, 1
	flush := func(end int) {
		if d := data[start:end]; len(bytes.TrimSpace(d)) > 0 {
			docs = append(docs, d)
			firstLines = append(firstLines, first)
		}
	}
	for pos := 0; pos < len(data); {
		end := pos + bytes.IndexByte(data[pos:], '\n') + 1
		if end == pos {
			end = len(data)
		}
		l := bytes.TrimRight(data[pos:end], "\r\n")
		switch {
		case bytes.Equal(l, []byte("---")) || bytes.HasPrefix(l, []byte("--- ")) || bytes.HasPrefix(l, []byte("---\t")):
			flush(pos)
			start, first = pos+3, line
		case bytes.Equal(l, []byte("...")):
			flush(pos)
			start, first = end, line+1
		}
		pos = end
		line++
	}
	flush(len(data))
	return docs, firstLines
}

// Decode reads one document that begins at the given line of its file.
func (d *Decoder) Decode(doc []byte, firstLine int) Document {
	w := &walker{decoder: d, offset: firstLine - 1}
	root, err := parse(doc)
	if err != nil {
		w.out.Unreadable = true
		line, msg := yamlError(err)
		w.problem(Problem{
			Code: "syntax", Severity: Error, Line: line + w.offset,
			Reason: "this is not YAML: " + msg,
		})
		return w.out
	}
	if root != nil {
		w.top(root)
	}
	return w.out
}

// parse returns nil for a document without content.
func parse(doc []byte) (*yaml.Node, error) {
	var n yaml.Node
	err := yaml.Unmarshal(doc, &n)
	if err != nil {
		// YAML has some JSON that it does not read, tabs for instance.
		var compact bytes.Buffer
		if json.Compact(&compact, doc) != nil || yaml.Unmarshal(compact.Bytes(), &n) != nil {
			return nil, err
		}
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) == 0 {
		return nil, nil
	}
	if c := n.Content[0]; c.Kind == yaml.ScalarNode && c.Tag == "!!null" {
		return nil, nil
	}
	return n.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors:\s*)?line (\d+): (.*)`)

func yamlError(err error) (line int, msg string) {
	msg = err.Error()
	var te *yaml.TypeError
	if errors.As(err, &te) && len(te.Errors) > 0 {
		msg = te.Errors[0]
	}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = m[2]
	}
	return max(line, 1), strings.TrimPrefix(msg, "yaml: ")
}
