//! The picture of who pushes to whom: nodes on a circle, arrows between them.

use super::graph::{Arrow, Graph, Node, Standing};
use std::{
    collections::BTreeMap,
    f64::consts::{FRAC_PI_2, TAU},
    fmt::Write as _,
};

/// Radius of the circle at least, and what each node adds where that is more.
const CIRCLE_MIN: f64 = 230.0;
const CIRCLE_PER_NODE: f64 = 15.0;
/// Room around the circle for names, and above and below for what is said.
const SIDE: f64 = 190.0;
const ABOVE: f64 = 140.0;
const BELOW: f64 = 140.0;
/// Radius of a node without stake, and what the largest stake adds to it.
const NODE_MIN: f64 = 9.0;
const NODE_MORE: f64 = 25.0;
/// Width of an arrow that nothing went along, and what the busiest has more.
const ARROW_MIN: f64 = 1.2;
const ARROW_MORE: f64 = 6.3;
/// How far an arrow bends, as a share of its length, so that there and back are two.
const BEND: f64 = 0.14;
/// Between an arrow's ends and the nodes.
const GAP: f64 = 4.0;
/// Length of a head without its shaft's share.
const HEAD: f64 = 8.0;

/// Colours for both kinds of screens; what the nodes' own hues are drawn with is legible on either.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-size:18px;font-weight:600}.name{font-weight:600}\
.more{font-size:11px;fill:#59636e}.back{fill:#fff}.silent{fill:none;stroke:#8b949e;stroke-width:2;stroke-dasharray:4 3}\
.guest{fill:#8b949e}.rim{stroke:#fff;stroke-width:2}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.more{fill:#9198a1}.back{fill:#0d1117}.rim{stroke:#0d1117}}";

#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
}

impl Point {
    /// The point so far from here towards another.
    fn towards(self, to: Self, distance: f64) -> Self {
        let (dx, dy) = (to.x - self.x, to.y - self.y);
        let length = dx.hypot(dy).max(f64::MIN_POSITIVE);
        Self { x: self.x + dx / length * distance, y: self.y + dy / length * distance }
    }

    fn text(self) -> String {
        format!("{} {}", number(self.x), number(self.y))
    }
}

/// Tenths are fine enough, and the same everywhere.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    if text == "-0.0" { "0.0".to_owned() } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A node with its place.
struct Disc<'a> {
    node: &'a Node,
    angle: f64,
    centre: Point,
    radius: f64,
    colour: String,
}

/// The picture as a file. The same graph gives the same text.
pub fn draw(graph: &Graph) -> String {
    let circle = CIRCLE_MIN.max(CIRCLE_PER_NODE * graph.nodes.len() as f64);
    let (width, height) = (2.0 * (circle + SIDE), 2.0 * circle + ABOVE + BELOW);
    let discs = discs(graph, circle);
    let places: BTreeMap<&str, &Disc<'_>> = discs.iter().map(|disc| (disc.node.identity.as_str(), disc)).collect();
    let busiest = graph.arrows.iter().map(|arrow| arrow.values).max().unwrap_or(0);
    let (w, h) = (number(width), number(height));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\">\n\
         <title>Who pushes to whom in gossip</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{w}\" height=\"{h}\" rx=\"12\"/>\n\
         <text class=\"title\" x=\"28\" y=\"42\">Who pushes to whom in gossip</text>\n\
         <text class=\"more\" x=\"28\" y=\"62\">{}</text>\n",
        summary(graph)
    );
    // The busiest last, so that thin ones do not lie on them.
    let mut arrows: Vec<&Arrow> = graph.arrows.iter().collect();
    arrows.sort_by_key(|arrow| arrow.values);
    for arrow in arrows {
        if let (Some(from), Some(to)) = (places.get(arrow.from.as_str()), places.get(arrow.to.as_str())) {
            svg.push_str(&drawn_arrow(arrow, (from, to), busiest));
        }
    }
    discs.iter().for_each(|disc| svg.push_str(&drawn_node(disc)));
    for (line, text) in legend(busiest).iter().enumerate() {
        let y = number(height - 46.0 + 18.0 * line as f64);
        let _ = writeln!(svg, "<text class=\"more\" x=\"28\" y=\"{y}\">{text}</text>");
    }
    svg.push_str("</svg>\n");
    svg
}

fn summary(graph: &Graph) -> String {
    let mut text = format!("{} nodes, {} arrows", graph.nodes.len(), graph.arrows.len());
    let silent = graph.nodes.iter().filter(|node| node.standing == Standing::Silent).count();
    if silent > 0 {
        let _ = write!(text, "; {silent} did not answer");
    }
    if graph.left_out > 0 {
        let _ = write!(text, "; {} guests are left out", graph.left_out);
    }
    text
}

fn legend(busiest: u64) -> [String; 2] {
    [
        format!("Arrow: pushes to; the wider, the more values since it began (at most {busiest}). Dashed: none yet."),
        "Disc: a node; the larger, the more stake. Dashed: it does not answer. Grey: not one of the localnet's."
            .to_owned(),
    ]
}

fn discs(graph: &Graph, circle: f64) -> Vec<Disc<'_>> {
    let most = graph.nodes.iter().filter_map(|node| node.stake).max().unwrap_or(0).max(1) as f64;
    let count = graph.nodes.len().max(1) as f64;
    let disc = |(at, node)| {
        let node: &Node = node;
        // The first at the top, then clockwise.
        let turn = at as f64 / count;
        let angle = turn * TAU - FRAC_PI_2;
        let centre = Point { x: SIDE + circle * (1.0 + angle.cos()), y: ABOVE + circle * (1.0 + angle.sin()) };
        let share = node.stake.unwrap_or(0) as f64 / most;
        let colour = format!("hsl({:.0} 60% 52%)", (210.0 + 360.0 * turn) % 360.0);
        Disc { node, angle, centre, radius: NODE_MIN + NODE_MORE * share.sqrt(), colour }
    };
    graph.nodes.iter().enumerate().map(disc).collect()
}

fn drawn_arrow(arrow: &Arrow, (from, to): (&Disc<'_>, &Disc<'_>), busiest: u64) -> String {
    let share = arrow.values as f64 / busiest.max(1) as f64;
    let width = ARROW_MIN + ARROW_MORE * share.sqrt();
    let (a, b) = (from.centre, to.centre);
    let middle = Point { x: (a.x + b.x) / 2.0, y: (a.y + b.y) / 2.0 };
    let bent = Point { x: middle.x - (b.y - a.y) * BEND, y: middle.y + (b.x - a.x) * BEND };
    let start = a.towards(bent, from.radius + GAP);
    let tip = b.towards(bent, to.radius + GAP);
    let neck = tip.towards(bent, HEAD + width);
    // The head's corners beside its neck.
    let half = width / 2.0 + 3.5;
    let (dx, dy) = (tip.x - neck.x, tip.y - neck.y);
    let length = dx.hypot(dy).max(f64::MIN_POSITIVE);
    let corner = |side: f64| Point { x: neck.x - dy / length * half * side, y: neck.y + dx / length * half * side };
    let dashes = if arrow.values == 0 { " stroke-dasharray=\"5 4\"" } else { "" };
    let buckets: Vec<String> = arrow.buckets.iter().map(ToString::to_string).collect();
    format!(
        "<g class=\"arrow\" opacity=\"0.8\"><title>{} pushes to {}: {} values, stake buckets {}</title>\
         <path d=\"M{} Q{} {}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\"{dashes}/>\
         <path d=\"M{} L{} L{}Z\" fill=\"{colour}\"/></g>\n",
        escaped(&from.node.name),
        escaped(&to.node.name),
        arrow.values,
        buckets.join(" "),
        start.text(),
        bent.text(),
        neck.text(),
        number(width),
        tip.text(),
        corner(1.0).text(),
        corner(-1.0).text(),
        colour = from.colour,
    )
}

fn drawn_node(disc: &Disc<'_>) -> String {
    let (node, centre) = (disc.node, disc.centre);
    let look = match node.standing {
        Standing::Running => format!("class=\"rim\" fill=\"{}\"", disc.colour),
        Standing::Silent => "class=\"silent\"".to_owned(),
        Standing::Guest => "class=\"guest\"".to_owned(),
    };
    let out = disc.radius + 14.0;
    let (x, y) = (centre.x + out * disc.angle.cos(), centre.y + out * disc.angle.sin());
    // Beside the circle a name begins or ends at its node; above and below it is centred and keeps clear of it.
    let (anchor, y) = match disc.angle.cos() {
        right if right > 0.3 => ("start", y),
        left if left < -0.3 => ("end", y),
        _ if disc.angle.sin() < 0.0 => ("middle", y - 16.0),
        _ => ("middle", y + 12.0),
    };
    let more = match (node.stake, node.standing) {
        (Some(stake), _) => format!("{stake} SOL, {}", node.identity.chars().take(8).collect::<String>()),
        (None, _) => "not of this localnet".to_owned(),
    };
    format!(
        "<g class=\"node\"><title>{}</title><circle cx=\"{}\" cy=\"{}\" r=\"{}\" {look}/>\
         <text class=\"name\" text-anchor=\"{anchor}\" x=\"{x}\" y=\"{}\">{}</text>\
         <text class=\"more\" text-anchor=\"{anchor}\" x=\"{x}\" y=\"{}\">{}</text></g>\n",
        escaped(&node.identity),
        number(centre.x),
        number(centre.y),
        number(disc.radius),
        number(y),
        escaped(&node.name),
        number(y + 15.0),
        escaped(&more),
        x = number(x),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::graph::tests::graph, *};

    /// The numbers that attributes with this name have.
    fn attribute(svg: &str, name: &str) -> Vec<f64> {
        let opening = format!(" {name}=\"");
        let parts = svg.split(&opening).skip(1);
        parts.map(|part| part.split('"').next().unwrap_or_default().parse().expect("a number")).collect()
    }

    #[test]
    fn every_node_and_every_arrow_is_drawn_once_and_named() {
        let svg = draw(&graph());
        assert_eq!((svg.matches("class=\"node\"").count(), svg.matches("class=\"arrow\"").count()), (4, 4));
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains("node-0 pushes to node-1: 400 values, stake buckets 0 9"), "{svg}");
        assert!(svg.contains("4 nodes, 4 arrows; 1 did not answer"), "{svg}");
    }

    #[test]
    fn the_same_graph_gives_the_same_picture() {
        assert_eq!(draw(&graph()), draw(&graph()));
    }

    #[test]
    fn more_values_make_a_wider_arrow_and_more_stake_a_larger_disc() {
        let svg = draw(&graph());
        let widths = attribute(&svg, "stroke-width");
        assert!(widths.len() == 4 && widths.is_sorted() && widths[0] < widths[3], "the busiest is on top: {widths:?}");
        let radii = attribute(&svg, "r");
        assert!(radii[0] > radii[1] && radii[1] > radii[2], "{radii:?}");
        assert_eq!(svg.matches("stroke-dasharray=\"5 4\"").count(), 1, "the arrow that nothing went along");
    }

    #[test]
    fn names_cannot_break_the_file() {
        let svg = draw(&graph());
        assert!(svg.contains("<title>stranger &lt;&amp;&gt;</title>") && !svg.contains("<&>"), "{svg}");
    }

    #[test]
    fn everything_lies_within_the_picture_however_many_nodes_there_are() {
        let node = |at: usize| Node { name: format!("node-{at}"), ..graph().nodes[0].clone() };
        for count in [0, 1, 2, 5, 40] {
            let many = Graph { nodes: (0..count).map(node).collect(), arrows: Vec::new(), left_out: 2 };
            let svg = draw(&many);
            let (width, height) = (attribute(&svg, "width")[0], attribute(&svg, "height")[0]);
            assert!(svg.contains("2 guests are left out") && attribute(&svg, "cx").len() == count, "{svg}");
            assert!(attribute(&svg, "x").iter().all(|x| (0.0..=width).contains(x)), "{svg}");
            assert!(attribute(&svg, "y").iter().all(|y| (0.0..=height).contains(y)), "{svg}");
        }
    }

    #[test]
    fn it_is_legible_on_light_and_dark_screens() {
        let svg = draw(&graph());
        assert!(svg.contains("prefers-color-scheme:dark") && svg.contains("class=\"back\""), "{svg}");
    }
}
