"""ATProto as pure functions: bytes in, typed values out.

Nothing here touches the network, files, the clock, randomness or the environment; whoever has the
bytes can check them. Start with `atd.protocol.proof.verify_record`.
"""
