package apps

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/reclosermesh/recloser/internal/lab/apps/bbpb"
)

// bbGRPC is the gRPC side of a building block.
type bbGRPC struct {
	bbpb.UnimplementedTheServiceServer
	bb *bb
}

// TheFunction handles one request. A failure of this block is UNKNOWN, as that
// of the original; one of a downstream server that it called by gRPC keeps its
// code, and what was called off keeps its reason.
func (s bbGRPC) TheFunction(ctx context.Context, in *bbpb.TheRequest) (*bbpb.TheResponse, error) {
	defer s.bb.countDown()
	req := bbMessage{RequestUID: in.GetRequestUID()}
	if req.RequestUID == "" {
		req.RequestUID = s.bb.newUID("grpc")
	}
	answer, err := s.bb.handle(ctx, req)
	if err != nil {
		s.bb.logger.Debug("request failed", "method", bbpb.TheService_TheFunction_FullMethodName, "request_uid", req.RequestUID, "error", err)
		return nil, status.Error(grpcCode(err), "error handling gRPC request: "+err.Error())
	}
	s.bb.logger.Debug("request answered", "method", bbpb.TheService_TheFunction_FullMethodName, "request_uid", req.RequestUID)
	return &bbpb.TheResponse{RequestUID: answer.RequestUID, Payload: answer.Payload}, nil
}

func grpcCode(err error) codes.Code {
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	default:
		return status.Code(err) // UNKNOWN for what has no code
	}
}

// serveGRPC serves on ln until ctx ends and the requests in hand are answered.
func serveGRPC(ctx context.Context, ln net.Listener, b *bb) error {
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(maxBBBody), grpc.WaitForHandlers(true))
	bbpb.RegisterTheServiceServer(srv, bbGRPC{bb: b})
	return serveCalls(ctx, ln, srv)
}

// serveCalls serves on ln until ctx ends and the calls in hand are answered.
func serveCalls(ctx context.Context, ln net.Listener, srv *grpc.Server) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		limit := time.AfterFunc(bbShutdown, srv.Stop)
		defer limit.Stop()
		srv.GracefulStop()
	})
	err := srv.Serve(ln)
	if stop() {
		srv.Stop()
		return err
	}
	<-stopped
	return nil
}

// grpcDownstream calls a building block by gRPC.
type grpcDownstream struct {
	server  string // host:port
	conn    *grpc.ClientConn
	timeout time.Duration
}

// newGRPCDownstream makes a client of a server. Through a proxy, calls go there
// with the server's name as their authority: HTTP/2 with prior knowledge, which
// is what a sidecar takes. Nothing is dialled yet.
func newGRPCDownstream(cfg *bbConfig, server string, proxies func(*http.Request) (*url.URL, error)) (*grpcDownstream, error) {
	target, opts := "dns:///"+server, []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxBBBody)),
	}
	proxy := cfg.grpcProxy
	if proxy == "" {
		u, err := proxies(&http.Request{URL: &url.URL{Scheme: "http", Host: server}})
		if err != nil {
			return nil, fmt.Errorf("HTTP_PROXY: %w", err)
		}
		if u != nil {
			proxy = u.Host
		}
	}
	if proxy != "" {
		target = "dns:///" + proxy
		opts = append(opts, grpc.WithAuthority(server))
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("--grpc-downstream-server %q: %w", server, err)
	}
	return &grpcDownstream{server: server, conn: conn, timeout: cfg.downstreamTimeout}, nil
}

// send passes req on and returns the answer. The error keeps the status.
func (d *grpcDownstream) send(ctx context.Context, req bbMessage) (bbMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	out, err := bbpb.NewTheServiceClient(d.conn).TheFunction(ctx, &bbpb.TheRequest{RequestUID: req.RequestUID})
	if err != nil {
		return bbMessage{}, fmt.Errorf("downstream server [%s]: %w", d.server, err)
	}
	return bbMessage{RequestUID: out.GetRequestUID(), Payload: out.GetPayload()}, nil
}

// checkHostPort accepts HOST:PORT.
func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if n, perr := strconv.ParseUint(port, 10, 16); err == nil && (perr != nil || n == 0 || host == "") {
		err = errors.New("a host and a port from 1 to 65535 are needed")
	}
	if err != nil {
		return fmt.Errorf("want HOST:PORT: %w", err)
	}
	return nil
}
