// A kubelet's device plugin that offers what a file says.
//
//	device-plugin FILE
//
// FILE is JSON, {RESOURCE: {DEVICE: {"mounts": [{"at", "of", "readOnly"}], "env": {NAME: VALUE}}}}: who
// is given DEVICE has the node's path "of" mounted at "at". It offers them until it is killed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kubelet "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type mount struct {
	At       string `json:"at"`
	Of       string `json:"of"`
	ReadOnly bool   `json:"readOnly"`
}

type device struct {
	Mounts []mount           `json:"mounts"`
	Env    map[string]string `json:"env"`
}

// plugin serves one resource: its devices by their names.
type plugin struct {
	kubelet.UnimplementedDevicePluginServer
	devices map[string]device
}

func (p plugin) GetDevicePluginOptions(context.Context, *kubelet.Empty) (*kubelet.DevicePluginOptions, error) {
	return &kubelet.DevicePluginOptions{}, nil
}

func (p plugin) ListAndWatch(_ *kubelet.Empty, list grpc.ServerStreamingServer[kubelet.ListAndWatchResponse]) error {
	all := &kubelet.ListAndWatchResponse{}
	for name := range p.devices {
		all.Devices = append(all.Devices, &kubelet.Device{ID: name, Health: kubelet.Healthy})
	}
	if err := list.Send(all); err != nil {
		return err
	}
	// They never change; the kubelet takes the end of the stream for the end of the devices.
	<-list.Context().Done()
	return nil
}

func (p plugin) Allocate(_ context.Context, asked *kubelet.AllocateRequest) (*kubelet.AllocateResponse, error) {
	given := &kubelet.AllocateResponse{}
	for _, container := range asked.ContainerRequests {
		answer := &kubelet.ContainerAllocateResponse{Envs: map[string]string{}}
		for _, name := range container.DevicesIds {
			device, known := p.devices[name]
			if !known {
				return nil, fmt.Errorf("no such device: %s", name)
			}
			for _, one := range device.Mounts {
				answer.Mounts = append(answer.Mounts, &kubelet.Mount{
					ContainerPath: one.At, HostPath: one.Of, ReadOnly: one.ReadOnly,
				})
			}
			for key, value := range device.Env {
				answer.Envs[key] = value
			}
		}
		given.ContainerResponses = append(given.ContainerResponses, answer)
	}
	return given, nil
}

// offer serves resource beside the kubelet's own socket, and tells the kubelet of it.
func offer(resource string, devices map[string]device) error {
	endpoint := strings.ReplaceAll(resource, "/", "_") + ".sock"
	listener, err := net.Listen("unix", kubelet.DevicePluginPath+endpoint)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	kubelet.RegisterDevicePluginServer(server, plugin{devices: devices})
	go func() { log.Fatal(server.Serve(listener)) }()
	client, err := grpc.NewClient("unix:"+kubelet.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kubelet.NewRegistrationClient(client).Register(context.Background(), &kubelet.RegisterRequest{
		Version: kubelet.Version, Endpoint: endpoint, ResourceName: resource,
	})
	return err
}

func main() {
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var resources map[string]map[string]device
	if err := json.Unmarshal(content, &resources); err != nil {
		log.Fatal(err)
	}
	for resource, devices := range resources {
		if err := offer(resource, devices); err != nil {
			log.Fatalf("%s: %v", resource, err)
		}
	}
	select {}
}
