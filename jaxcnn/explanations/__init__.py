"""Why a network answers as it does: functions from a trained network and an image to arrays."""
