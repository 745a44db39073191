"""The methods compared: ours and the baselines."""
