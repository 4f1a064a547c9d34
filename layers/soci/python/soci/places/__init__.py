"""Where images lie: the ports, and the layouts, archives and registries behind them."""
