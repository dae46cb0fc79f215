module ferrolb.io/tests/chart

go 1.26.0

require go.yaml.in/yaml/v3 v3.0.4

require github.com/yuin/gopher-lua v1.1.1
