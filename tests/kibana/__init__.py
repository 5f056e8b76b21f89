"""The dashboards: where they are written down, how they are read again, asked and drawn.

dashboards.py   what they show, as tables; objects.py makes saved objects of it
__main__.py     python3 -m tests.kibana: writes packaging/kibana/vc5.ndjson from them, which is what is shipped
panels.py       reads what is shipped, and makes of each panel the request that Kibana makes of it
pictures.py     python3 -m tests.kibana.pictures: draws what a real Elasticsearch answers, for the README

Tests are in tests/unit/packaging/test_kibana.py and tests/telemetry/test_dashboards.py.
"""
