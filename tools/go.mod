module ferrolb.io/tools

go 1.26.0
