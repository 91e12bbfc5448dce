def description():
    return {}
