package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile bounds a file of certificates, in bytes. A system's bundle of
// authorities has about 250 KiB.
const maxFile = 4 << 20

// Source is where PEM text comes from: a file, or the text itself.
type Source struct {
	// File is a path. It is read again when it has changed.
	File string
	// Inline is used where File is empty.
	Inline []byte
}

func (s Source) empty() bool { return s.File == "" && len(s.Inline) == 0 }

// String names the source for people. It never shows the text.
func (s Source) String() string {
	switch {
	case s.File != "":
		return s.File
	case len(s.Inline) > 0:
		return "inline text"
	}
	return "nothing"
}

// input is a source and what is read from it: "trusted CA".
type input struct {
	what string
	Source
}

// read gives the text. Errors name what it is, and the file.
func (in input) read() ([]byte, error) {
	if in.File == "" {
		return in.Inline, nil
	}
	text, err := readFile(in.File)
	if path, ok := errors.AsType[*os.PathError](err); ok {
		err = path.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", in.what, in.File, err)
	}
	return text, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for, a device has no end
		return nil, errors.New("is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("is larger than %d bytes", maxFile)
	case len(text) == 0:
		return nil, errors.New("is empty")
	}
	return text, nil
}
