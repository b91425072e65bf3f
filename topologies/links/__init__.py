"""What a link does to packets: profiles, and traces of links that vary."""
