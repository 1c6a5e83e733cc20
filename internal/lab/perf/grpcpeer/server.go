package main

import (
	"context"
	"errors"
	"io"
	"net"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// serve answers on all addrs until ctx is done.
func serve(ctx context.Context, addrs []string) error {
	srv := grpc.NewServer(grpc.ForceServerCodecV2(raw{}))
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "recloser.bench.Echo",
		Methods:     []grpc.MethodDesc{{MethodName: "Say", Handler: say}},
		Streams:     []grpc.StreamDesc{{StreamName: "Talk", Handler: echo, ServerStreams: true, ClientStreams: true}},
	}, nil)
	stop := context.AfterFunc(ctx, srv.Stop)
	defer stop()
	var lc net.ListenConfig
	var g errgroup.Group
	for _, addr := range addrs {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			srv.Stop()
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return srv.Serve(l) })
	}
	return g.Wait()
}

// say answers a unary call with its request.
func say(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // grpc.MethodHandler has the order
	var b []byte
	return &b, decode(&b)
}

// echo sends a head at once, then each message back.
func echo(_ any, s grpc.ServerStream) error {
	if err := s.SendHeader(nil); err != nil {
		return err
	}
	var b []byte
	for {
		if err := s.RecvMsg(&b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := s.SendMsg(&b); err != nil {
			return err
		}
	}
}
