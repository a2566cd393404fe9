//! What the audience sees: numbered scenes, invocations with their answers' `text`, the time each took.

use std::io::IsTerminal;
use std::time::Instant;

use e2e::Function;
use serde_json::Value;

/// Where the demo is shown: counts its scenes and times them.
pub struct Stage {
    scene: u32,
    began: Instant,
    colour: bool,
}

impl Stage {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            scene: 0,
            began: Instant::now(),
            colour: std::io::stdout().is_terminal(),
        }
    }

    /// Begins a scene.
    pub fn scene(&mut self, title: &str) {
        self.scene += 1;
        let (bold, plain) = if self.colour {
            ("\x1b[1;36m", "\x1b[0m")
        } else {
            ("", "")
        };
        println!("\n{bold}── {}. {title}{plain}", self.scene);
    }

    /// Says one line.
    pub fn say(&self, line: &str) {
        println!("   {line}");
    }

    /// Shows a text of several lines.
    pub fn show(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   │ {line}");
        }
    }

    /// Shows an invocation that is about to be made.
    pub fn command(&self, name: &str, event: &Value) {
        println!("   $ invoke {name} '{event}'");
    }

    /// Invokes a function and shows its answer.
    ///
    /// # Panics
    ///
    /// When the invocation fails, with the function's log.
    pub async fn invoke(&self, function: &Function, name: &str, event: Value) -> Value {
        let began = Instant::now();
        let answer = answer(function, name, event).await;
        self.show(answer["text"].as_str().unwrap_or_default());
        println!("   ({:.1} s)", began.elapsed().as_secs_f64());
        answer
    }

    /// Invokes a function for a fragment of HTML, which is nothing to show in a terminal.
    ///
    /// # Panics
    ///
    /// When the invocation fails, with the function's log.
    pub async fn fragment(&self, function: &Function, name: &str, event: Value) -> String {
        let answer = answer(function, name, event).await;
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// Ends the demo.
    pub fn end(&self) {
        println!(
            "\nTold in {:.0} s. Nothing is left running.",
            self.began.elapsed().as_secs_f64()
        );
    }
}

async fn answer(function: &Function, name: &str, event: Value) -> Value {
    println!("   $ invoke {name} '{event}'");
    let answer = function.invoke(event).await;
    answer.unwrap_or_else(|error| panic!("{name}: {error}\n{}", function.logs()))
}
