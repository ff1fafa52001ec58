"""What the tests against real programs stand on: starting topicsd, speaking to it, running cases."""
