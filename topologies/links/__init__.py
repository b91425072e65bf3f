"""Effects of a link on packets: profiles, and traces of links that vary."""
