// A web server for tests: it says which pod answers and whom it sees; /fetch?url= says what the pod gets from elsewhere, as its service account. By UDP it sends
// back what comes to the same port.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	address := ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	name, _ := os.Hostname()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s sees %s\n", name, r.RemoteAddr) })
	http.HandleFunc("/fetch", fetch)
	server := http.Server{Addr: address}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	go echo(address)
	fmt.Println("listening on", address)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
}

func echo(address string) {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		fmt.Println(err)
		return
	}
	for buffer := make([]byte, 2048); ; {
		if n, from, err := socket.ReadFrom(buffer); err == nil {
			_, _ = socket.WriteTo(buffer[:n], from)
		}
	}
}

func fetch(w http.ResponseWriter, r *http.Request) {
	roots := x509.NewCertPool()
	authority, _ := os.ReadFile(account + "ca.crt")
	roots.AppendCertsFromPEM(authority)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.FormValue("url"), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if token, err := os.ReadFile(account + "token"); err == nil && request.URL.Scheme == "https" {
		request.Header.Set("Authorization", "Bearer "+string(token))
	}
	response, err := client.Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}
