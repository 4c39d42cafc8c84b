pytest_plugins = [
    "tests.fix_db",
    "tests.fix_header",
    "tests.fix_kernel",
    "tests.fix_hub",
    "tests.fix_lab",
    "tests.fix_agent",
]
