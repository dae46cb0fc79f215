package ferrolb_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var deleteOptions = metav1.DeleteOptions{}

// createBare makes a LoadBalancer Service without endpoints, by one request.
func (s *system) createBare(t testing.TB, name string) {
	t.Helper()
	if err := s.tryCreateBare(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func (s *system) tryCreateBare(ctx context.Context, name string) error {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}, AllocateLoadBalancerNodePorts: new(bool)},
	}
	_, err := s.Client.CoreV1().Services("default").Create(ctx, service, metav1.CreateOptions{})
	return err
}

// list is every LoadBalancer Service of the namespace default.
func (s *system) list(t testing.TB) []corev1.Service {
	t.Helper()
	services, err := s.Client.CoreV1().Services("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var found []corev1.Service
	for _, service := range services.Items {
		if service.Spec.Type == corev1.ServiceTypeLoadBalancer {
			found = append(found, service)
		}
	}
	return found
}
