package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
)

// explain says what a failed handshake means. The error stays what it was for
// errors.Is and errors.As.
func explain(err error) error {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("the peer does not speak TLS, its first bytes are %q: %w", record.RecordHeader[:], err)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the peer closed during the handshake: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the handshake took too long: %w", err)
	}
	return err
}
