"""What happens to items: fetched, labelled, judged, stored, reviewed."""
