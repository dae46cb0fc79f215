package ferrolb_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	cluster "ferrolb.io/tests/cluster"
)

// ledger follows every Service as an administrator, and keeps what ought never to happen: an address that changes or goes away, and an address that
// two Services have.
type ledger struct {
	stop context.CancelFunc
	done chan struct{}

	mutex  sync.Mutex
	holds  map[types.UID]string
	users  map[string]types.UID
	names  map[types.UID]string
	wrongs []string
}

func (s *system) ledger(t testing.TB) *ledger {
	ctx, stop := context.WithCancel(context.Background())
	l := &ledger{stop: stop, done: make(chan struct{}), holds: map[types.UID]string{}, users: map[string]types.UID{}, names: map[types.UID]string{}}
	t.Cleanup(stop)
	go func() {
		defer close(l.done)
		for ctx.Err() == nil {
			l.follow(ctx, s.Cluster)
			time.Sleep(100 * time.Millisecond)
		}
	}()
	return l
}

// follow lists and watches until the watch ends.
func (l *ledger) follow(ctx context.Context, c *cluster.Cluster) {
	list, err := c.Client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	listed := map[types.UID]bool{}
	for _, service := range list.Items {
		listed[service.UID] = true
	}
	l.mutex.Lock()
	for uid := range l.names {
		if !listed[uid] {
			l.gone(uid)
		}
	}
	l.mutex.Unlock()
	for _, service := range list.Items {
		l.see(&service)
	}
	stream, err := c.Client.CoreV1().Services("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return
	}
	defer stream.Stop()
	for event := range stream.ResultChan() {
		service, ok := event.Object.(*corev1.Service)
		if !ok {
			return
		}
		if event.Type == watch.Deleted {
			l.mutex.Lock()
			l.gone(service.UID)
			l.mutex.Unlock()
			continue
		}
		l.see(service)
	}
}

func (l *ledger) gone(uid types.UID) {
	for _, ip := range strings.Fields(l.holds[uid]) {
		if l.users[ip] == uid {
			delete(l.users, ip)
		}
	}
	delete(l.holds, uid)
	delete(l.names, uid)
}

func (l *ledger) see(service *corev1.Service) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	uid, name := service.UID, service.Namespace+"/"+service.Name
	var ips []string
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		ips = append(ips, ingress.IP)
	}
	l.names[uid] = name
	now := strings.Join(ips, " ")
	if before := l.holds[uid]; before != "" && before != now && service.Spec.Type == corev1.ServiceTypeLoadBalancer {
		l.wrongs = append(l.wrongs, fmt.Sprintf("%s had %q and has %q", name, before, now))
	}
	l.holds[uid] = now
	for _, ip := range ips {
		if other, taken := l.users[ip]; taken && other != uid {
			l.wrongs = append(l.wrongs, fmt.Sprintf("%s and %s both have %s", l.names[other], name, ip))
		}
		l.users[ip] = uid
	}
}

// served is how many Services were seen with an address and are still there.
func (l *ledger) served() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	served := 0
	for _, holds := range l.holds {
		if holds != "" {
			served++
		}
	}
	return served
}

// end says what was wrong, and that at least so many Services were served.
func (l *ledger) end(t testing.TB, least int) {
	t.Helper()
	served := l.served()
	l.stop()
	<-l.done
	if served < least {
		t.Errorf("only %d Services were seen with an address", served)
	}
	for _, wrong := range l.wrongs[:min(len(l.wrongs), 10)] {
		t.Error(wrong)
	}
	if len(l.wrongs) > 10 {
		t.Errorf("and %d more", len(l.wrongs)-10)
	}
}
