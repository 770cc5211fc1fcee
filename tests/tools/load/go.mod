module rolesanywhere.dev/tests/tools/load

go 1.26
