"""Backpropagation worked by hand, and the same numbers out of a graph.

    J = ((w x + b) - y)^2        q = w x,   p = q + b (the prediction),   z = y - p,   J = z^2

Six steps: (1) derive the gradients, once, as more graph; (2) initialise the parameters; (3) choose an example;
(4) feed it forward; (5) substitute into the gradients that were derived already; (6) update, and go on from (3).
Every number below is asserted.  `--picture graph.png` draws them, each beside its formula.
"""

import argparse

import graphflow as tf

BY_HAND = {"q": 6.0, "p": 10.0, "z": -5.0, "J": 25.0}
SLOPES_BY_HAND = {"z": -10.0, "p": 10.0, "b": 10.0, "q": 10.0, "w": 20.0, "x": 30.0}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="changes nothing: this takes no time")
    options.add_argument("--picture", metavar="FILE", help="draw it all into a .png, .svg or .html file")
    arguments = options.parse_args()

    x = tf.placeholder(tf.float32, [], name="x")
    y = tf.placeholder(tf.float32, [], name="y")
    w = tf.Variable(3.0, name="w")
    b = tf.Variable(4.0, name="b")
    q = tf.multiply(w, x, name="q")
    p = tf.add(q, b, name="p")
    z = tf.subtract(y, p, name="z")
    J = tf.square(z, name="J")

    # Step 1: nothing is computed here, the graph only grows by the derivatives.
    slopes = dict(zip(SLOPES_BY_HAND, tf.gradients(J, [z, p, b, q, w, x]), strict=True))
    descent = tf.train.GradientDescentOptimizer(learning_rate=0.1)
    update = descent.apply_gradients([(slopes["w"], w), (slopes["b"], b)])

    with tf.Session() as session:
        session.run(tf.global_variables_initializer())  # step 2
        example = {x: 2.0, y: 5.0}  # step 3
        forward = session.run({"q": q, "p": p, "z": z, "J": J}, feed_dict=example)  # step 4
        backward = session.run(slopes, feed_dict=example)  # step 5
        for name, value in forward.items():
            print(f"{name:>10} = {value:6g}")
            assert value == BY_HAND[name], (name, value)
        for name, value in backward.items():
            print(f"{'dJ/d' + name:>10} = {value:6g}")
            assert value == SLOPES_BY_HAND[name], (name, value)

        session.run(update, feed_dict=example)  # step 6
        new_w, new_b, new_J = session.run([w, b, J], feed_dict=example)
        print(f"\nafter one update: w = {new_w:g}, b = {new_b:g}, J = {new_J:g}")
        assert (new_w, new_b, new_J) == (1.0, 3.0, 0.0)

        updates, loss = 1, new_J + 1.0
        while loss > 1e-10:  # from step 3 again, with another example, until done
            loss, _ = session.run([J, update], feed_dict={x: 1.0, y: -2.0})
            updates += 1
        w_end, b_end = session.run([w, b])
        print(f"after {updates} updates, the later ones with x = 1 and y = -2: w + b = {w_end + b_end:g}")
        assert abs(w_end + b_end + 2.0) < 1e-4

        if arguments.picture:
            from graphflow import render

            session.run(tf.global_variables_initializer())  # w and b as in step 2, for the numbers in the picture
            graph = tf.get_default_graph()
            numbers = session.run(render.numbers_of(graph), feed_dict=example)
            print(f"the graph: {graph.render(arguments.picture, 'gradients', values=numbers)}")


if __name__ == "__main__":
    main()
