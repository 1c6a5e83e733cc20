package apps

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echoService is the one service of gRPC, with one method, those of the image's
// server. Its messages have one field, a string with the number 1, as
// StringValue has.
const (
	echoService = "proto.EchoTestService"
	echoMethod  = "Echo"
)

// answerHTTP answers one request.
func (e *echo) answerHTTP(w http.ResponseWriter, r *http.Request, port int) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	var a echoAnswer
	e.begin(&a, port, r.Host)
	a.add("Method", r.Method)
	a.add("URL", r.URL.RequestURI())
	a.add("Proto", r.Proto)
	if from, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		a.add("IP", from)
	}
	addHeaders(&a, r.Header)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := io.WriteString(w, a.String()); err != nil {
		e.logger.Debug("answer not sent", "error", err)
	}
}

func addHeaders(a *echoAnswer, headers map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, v := range headers[name] {
			a.add("RequestHeader", name+":"+v)
		}
	}
}

// serveHTTP serves HTTP/1.1 and HTTP/2, with prior knowledge or by ALPN.
func (e *echo) serveHTTP(ctx context.Context, ln net.Listener, port int) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.answerHTTP(w, r, port) }),
		Protocols:         &protocols,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(e.logger.Handler(), slog.LevelDebug),
	}
	return serveRequests(ctx, ln, srv)
}

// answerCall answers one call.
func (e *echo) answerCall(ctx context.Context, in *wrapperspb.StringValue, port int) *wrapperspb.StringValue {
	var a echoAnswer
	md, _ := metadata.FromIncomingContext(ctx)
	host := ""
	if v := md.Get(":authority"); len(v) > 0 {
		host = v[0]
	}
	e.begin(&a, port, host)
	a.add("Proto", "gRPC")
	a.add("Echo", in.GetValue())
	addHeaders(&a, md)
	return wrapperspb.String(a.String())
}

// serveGRPC serves calls until ctx ends.
func (e *echo) serveGRPC(ctx context.Context, ln net.Listener, port int) error {
	srv := grpc.NewServer(grpc.WaitForHandlers(true))
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: echoService,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: echoMethod,
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				in := new(wrapperspb.StringValue)
				if err := decode(in); err != nil {
					return nil, err
				}
				return e.answerCall(ctx, in, port), nil
			},
		}},
	}, e)
	return serveCalls(ctx, ln, srv)
}

// serveBytes gives every connection its bytes back, until ctx ends.
func serveBytes(ctx context.Context, ln net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		open.Go(func() {
			end := context.AfterFunc(ctx, func() { c.Close() })
			defer end()
			defer c.Close()
			_, _ = io.Copy(c, c) // whoever ends it, it is over
		})
	}
}

// certificate is what makes a listener one of TLS: with the files that the
// arguments name, or where there are none, since the image has its own inside,
// with a certificate that is made now.
func (e *echo) certificate() (func(net.Listener) net.Listener, error) {
	if len(e.cfg.tls) == 0 {
		return nil, nil //nolint:nilnil // nothing asks for it
	}
	pair, err := tls.LoadX509KeyPair(e.cfg.cert, e.cfg.key)
	if errors.Is(err, fs.ErrNotExist) || e.cfg.cert == "" {
		pair, err = selfSigned()
	}
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	return func(ln net.Listener) net.Listener { return tls.NewListener(ln, cfg) }, nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
